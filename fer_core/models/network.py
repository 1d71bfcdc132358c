"""MultiscaleNet: features at several depths, channel-wise self-attention on each, one embedding, a cosine classifier.

Our reading of Wen, Zhou, Gan, Luo (Meas. Sci. Technol. 2024, doi 10.1088/1361-6501/ad191c), of which only the abstract is public.
Choices, each of them ours:

- Input is the aligned 112x112 face. The network looks at rows 16-112 and columns 8-104: brows to chin at ArcFace's scale, which is also
  what a 48 px FER2013 picture shows. `config.scale` pixels are averaged into one before the first convolution.
- Colour is reduced to luma and every face standardised to zero mean and unit deviation: training faces are mostly grey.
- Four residual stages, halving resolution each; every stage is tapped, so shallow geometry and deep semantics both reach the embedding.
- A tapped map (C, H, W) is averaged onto a small grid and becomes C tokens, one a channel. Self-attention across channels lets them
  compare where they fire; a few learned queries then compress C channels to a fixed number of tokens.
- The scales' vectors are concatenated and projected to one embedding; classes are unit centers and a logit is `scale * cosine`, with
  `class_bias` plus a learned bias: the class prior of training, kept apart from what the face shows. For the losses that ours is compared
  with there is a linear classifier too: the same vectors without normalisation.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_core.models.network_config import BASE, HEADS, TINY, WINDOW_LEFT, WINDOW_SIZE, WINDOW_TOP, NetworkConfig

__all__ = [
    "BASE",
    "HEADS",
    "TINY",
    "WINDOW_LEFT",
    "WINDOW_SIZE",
    "WINDOW_TOP",
    "ChannelAttention",
    "MultiscaleNet",
    "NetworkConfig",
    "ResidualBlock",
    "luma",
    "multiply_adds",
    "on_device",
    "standardised",
]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm around a shortcut (He et al., CVPR 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1: nn.Module = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2: nn.Module = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return F.relu(y + self.shortcut(x))


class ChannelAttention(nn.Module):
    """Self-attention across channels, then compression to a few tokens."""

    def __init__(self, channels: int, config: NetworkConfig) -> None:
        super().__init__()
        self.grid, self.heads = config.grid, HEADS
        self.norm = nn.LayerNorm(config.grid**2)
        self.tokens = nn.Linear(config.grid**2, config.token)
        self.identity = nn.Parameter(0.02 * torch.randn(channels, config.token))
        self.query_key_value = nn.Linear(config.token, 3 * config.token)
        self.out = nn.Linear(config.token, config.token)
        self.queries = nn.Parameter(torch.randn(config.queries, config.token) / config.token**0.5)
        self.width = config.queries * config.token

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, queries * token)."""
        grid = F.adaptive_avg_pool2d(features, self.grid).flatten(2)  # (B, C, grid * grid)
        x = self.tokens(self.norm(grid)) + self.identity  # (B, C, token)
        x = x + self.out(self._attend(x))
        telling = self.queries.expand(len(x), -1, -1)  # (B, queries, token)
        return F.scaled_dot_product_attention(telling, x, x).flatten(1)

    def _attend(self, x: Tensor) -> Tensor:
        """(B, C, token) -> (B, C, token): each channel looks at all channels."""
        batch, channels, width = x.shape
        qkv = self.query_key_value(x).view(batch, channels, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # 3 x (B, heads, C, width / heads)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, channels, width)


class MultiscaleNet(nn.Module):
    """See the module's text. `forward` gives embeddings, `cosines` compares them with the class centers."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Sequential(nn.Conv2d(1, config.stem, 3, 1, 1, bias=False), nn.BatchNorm2d(config.stem), nn.ReLU())
        inputs = config.stem
        stages = []
        for width, count in zip(config.widths, config.blocks, strict=True):
            blocks = [ResidualBlock(inputs if i == 0 else width, width, 2 if i == 0 else 1) for i in range(count)]
            stages.append(nn.Sequential(*blocks))
            inputs = width
        self.stages = nn.ModuleList(stages)
        self.attention = nn.ModuleList(ChannelAttention(config.widths[tap], config) for tap in config.taps if config.attention)
        each = config.queries * config.token
        fused = sum(each + config.widths[tap] if config.attention else config.widths[tap] for tap in config.taps)
        self.fuse = nn.Sequential(nn.BatchNorm1d(fused), nn.Dropout(config.dropout), nn.Linear(fused, config.embedding, bias=False))
        self.norm = nn.BatchNorm1d(config.embedding, affine=config.affine)
        self.centers = nn.Parameter(nn.init.orthogonal_(torch.empty(len(config.classes), config.embedding)))
        """(K, embedding) class centers; only their direction counts."""
        self.class_bias = nn.Parameter(torch.zeros(len(config.classes))) if config.class_bias else None
        """(K,) added to the logits: the log prior of the classes in training, learned along."""

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 3, 112, 112) RGB or (B, 1, 112, 112) luma, 0 to 255 -> embeddings (B, embedding), not normalised."""
        return self.embedded(standardised(faces, self.config.scale))

    def embedded(self, x: Tensor) -> Tensor:
        """(B, 1, S, S) standardised -> embeddings. What is fused and its norms may be of higher precision than what comes before."""
        x = self.stem(x)
        scales = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.config.taps:
                scales.append(x.mean((2, 3)))
                if self.config.attention:
                    scales.append(self.attention[self.config.taps.index(index)](x))
        embeddings: Tensor = self.norm(self.fuse(torch.cat(scales, 1).to(self.centers.dtype)))
        return embeddings

    def logits(self, embeddings: Tensor) -> Tensor:
        """(B, embedding) -> (B, K) logits, before calibration."""
        if self.config.classifier == "linear":
            return F.linear(embeddings, self.centers, self.class_bias)
        cosines = F.linear(F.normalize(embeddings), F.normalize(self.centers))
        return self.config.logit_scale * cosines if self.class_bias is None else self.config.logit_scale * cosines + self.class_bias


def on_device(network: MultiscaleNet, device: torch.device) -> MultiscaleNet:
    """Moved to the device in the memory layout that its convolutions like best."""
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch's annotation lacks it


def luma(faces: Tensor) -> Tensor:
    """(B, 3, H, W) RGB -> (B, 1, H, W) by the weights of ITU-R BT.601; one channel passes as it is."""
    if faces.shape[1] == 1:
        return faces
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=faces.dtype, device=faces.device)
    return (faces * weights.view(1, 3, 1, 1)).sum(1, keepdim=True)


def standardised(faces: Tensor, scale: int) -> Tensor:
    """(B, 1 or 3, 112, 112) in 0 to 255 -> (B, 1, 96 / scale, 96 / scale), each face of mean 0 and deviation 1 (flat faces: 0)."""
    window = luma(faces)[:, :, WINDOW_TOP : WINDOW_TOP + WINDOW_SIZE, WINDOW_LEFT : WINDOW_LEFT + WINDOW_SIZE]
    small = F.avg_pool2d(window, scale) if scale > 1 else window
    deviation, mean = torch.std_mean(small, dim=(1, 2, 3), keepdim=True, correction=0)
    return (small - mean) / (deviation + 4.0)  # 4 grey levels: noise on a flat face is not blown up


def multiply_adds(config: NetworkConfig) -> int:
    """Multiply-adds of one face through convolutions, linear layers and attention products, counted on a real pass."""
    from torch.utils.flop_counter import FlopCounterMode

    network = MultiscaleNet(config).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.logits(network(torch.zeros(1, 1, 112, 112)))
    return int(counter.get_total_flops()) // 2
