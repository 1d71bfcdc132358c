"""DetectionNet: a small anchor-free network that gives a box, a score and five points at every place of three grids.

Of the class of YuNet (Wu, Peng, Yu, 2023) and SCRFD (Guo et al., ICLR 2022), with plain 3x3 convolutions instead of depthwise ones, which
are no faster on CPUs. Three residual stages at strides 8, 16 and 32; coarser maps are added to finer ones (Lin et al., "Feature
Pyramid Networks", CVPR 2017); each level has its own head of 15 numbers: the score's logit, where the box's centre lies and how large it
is, and the five points.
"""

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_core.detect.builtin.config import LARGEST, NUMBERS, STRIDES, DetectionConfig

__all__ = [
    "LARGEST",
    "NUMBERS",
    "STRIDES",
    "Convolution",
    "DetectionConfig",
    "DetectionNet",
    "DetectionOutputs",
    "Residual",
    "Stage",
    "fold_batch_norm",
    "interpolate_weights",
    "unfold_batch_norm",
]

RARE: Final = -4.6
"""Logit of the share of places that hold a face at the start of training (Lin et al., "Focal loss", ICCV 2017)."""


@dataclass(frozen=True, slots=True)
class DetectionOutputs:
    """Outputs of the network at every place of a batch. N places of all levels, finest level first, row by row."""

    logits: Tensor
    """(B, N) of the score."""
    boxes: Tensor
    """(B, N, 4) x0, y0, x1, y1 in pixels of the input."""
    points: Tensor
    """(B, N, 5, 2) in pixels of the input."""
    centres: Tensor
    """(N, 2) where each place lies, in pixels."""
    grids: tuple[tuple[int, int], ...]
    """Rows and columns of each level."""


class Convolution(nn.Module):
    """3x3 convolution, batch norm while training (`norm` None once folded), ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=not norm)
        self.norm = nn.BatchNorm2d(outputs) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride), before the ReLU."""
        x = self.conv(x)
        return x if self.norm is None else self.norm(x)


class Residual(nn.Module):
    """Two convolutions around the identity (He et al., CVPR 2016)."""

    def __init__(self, width: int, *, norm: bool) -> None:
        super().__init__()
        self.first = Convolution(width, width, 1, norm=norm)
        self.second = Convolution(width, width, 1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) -> the same shape."""
        return F.relu(x + self.second(F.relu(self.first(x))))


class Stage(nn.Module):
    """Halves the picture, then residual blocks."""

    def __init__(self, inputs: int, width: int, blocks: int, *, norm: bool) -> None:
        super().__init__()
        self.down = Convolution(inputs, width, 2, norm=norm)
        self.blocks = nn.Sequential(*(Residual(width, norm=norm) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, width, H / 2, W / 2)."""
        out: Tensor = self.blocks(F.relu(self.down(x)))
        return out


class DetectionNet(nn.Module):
    """See the module's text. `norm`: with batch norm, for training; without, as it is shipped."""

    def __init__(self, config: DetectionConfig, *, norm: bool = False) -> None:
        super().__init__()
        self.config = config
        first, second = config.stem
        self.stem = nn.ModuleList([Convolution(3, first, 2, norm=norm), Convolution(first, second, 2, norm=norm)])
        inputs = (second, *config.widths[:2])
        self.stages = nn.ModuleList(Stage(i, w, b, norm=norm) for i, w, b in zip(inputs, config.widths, config.blocks, strict=True))
        self.lateral = nn.ModuleList(nn.Conv2d(width, config.neck, 1) for width in config.widths)
        self.heads = nn.ModuleList(Convolution(config.neck, config.neck, 1, norm=norm) for _ in STRIDES)
        self.outputs = nn.ModuleList(nn.Conv2d(config.neck, NUMBERS, 1) for _ in STRIDES)
        for output in self.outputs:
            weight, bias = output.parameters()
            nn.init.normal_(weight, std=0.01)
            nn.init.zeros_(bias)
            nn.init.constant_(bias[:1], RARE)

    def forward(self, pictures: Tensor) -> DetectionOutputs:
        """(B, 3, H, W) RGB, 0 to 255, H and W multiples of 32 -> outputs at every place."""
        return _places(self.levels(pictures))

    def levels(self, pictures: Tensor) -> list[Tensor]:
        """The same -> the raw numbers of each level, finest first, (B, 15, H / stride, W / stride)."""
        x = pictures / 128 - 1
        for layer in self.stem:
            x = F.relu(layer(x))
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        mixed = self.lateral[2](levels[2])
        seen = [self._read(2, mixed)]
        for level in (1, 0):
            mixed = self.lateral[level](levels[level]) + F.interpolate(mixed, scale_factor=2.0, mode="nearest")
            seen.insert(0, self._read(level, mixed))
        return seen

    def _read(self, level: int, features: Tensor) -> Tensor:
        """(B, neck, h, w) -> (B, 15, h, w)."""
        numbers: Tensor = self.outputs[level](F.relu(self.heads[level](features)))
        return numbers


def _places(levels: list[Tensor]) -> DetectionOutputs:
    """Raw numbers of each level, (B, 15, h, w) -> `DetectionOutputs`."""
    grids = tuple((numbers.shape[2], numbers.shape[3]) for numbers in levels)
    device = levels[0].device
    centre = torch.cat([_centres(rows, columns, stride, device) for (rows, columns), stride in zip(grids, STRIDES, strict=True)])
    counts = [rows * columns for rows, columns in grids]
    step = torch.cat([torch.full((count, 1), float(stride), device=device) for count, stride in zip(counts, STRIDES, strict=True)])
    flat = torch.cat([numbers.float().flatten(2) for numbers in levels], 2).transpose(1, 2)  # (B, N, 15)
    middle = centre + flat[..., 1:3] * step
    half = flat[..., 3:5].clamp(max=LARGEST).exp() * step / 2
    points = centre[:, None] + flat[..., 5:].view(*flat.shape[:2], 5, 2) * step[:, None]
    return DetectionOutputs(flat[..., 0], torch.cat([middle - half, middle + half], 2), points, centre, grids)


def _centres(rows: int, columns: int, stride: int, device: torch.device) -> Tensor:
    """(rows * columns, 2) x, y in pixels, row by row."""
    y, x = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
    return (torch.stack([x, y], -1).view(-1, 2) + 0.5) * stride


def fold_batch_norm(network: DetectionNet) -> DetectionNet:
    """The same outputs without batch norm, in evaluation mode: its statistics are folded into the convolutions."""
    plain = DetectionNet(network.config)
    theirs, ours = dict(network.named_modules()), dict(plain.named_modules())
    for name, module in theirs.items():
        mine = ours.get(name)
        if isinstance(module, Convolution) and isinstance(mine, Convolution) and module.norm is not None:
            norm = module.norm
            mean, variance = norm.running_mean, norm.running_var
            assert mean is not None
            assert variance is not None
            assert mine.conv.bias is not None
            gain = norm.weight / (variance + norm.eps).sqrt()
            mine.conv.weight.data = (module.conv.weight * gain.view(-1, 1, 1, 1)).detach().clone()
            mine.conv.bias.data = (norm.bias - mean * gain).detach().clone()
        elif isinstance(module, nn.Conv2d) and isinstance(mine, nn.Conv2d) and module.bias is not None:
            mine.load_state_dict(module.state_dict())
    return plain.eval()


def interpolate_weights(one: DetectionNet, other: DetectionNet, share: float) -> DetectionNet:
    """Networks without batch norm, one trained from the other, averaged weight by weight: `share` of the second.

    Such averages are often better than either (Wortsman et al., "Model soups", ICML 2022). ValueError: they are of different sizes.
    """
    if one.config != other.config:
        raise ValueError("only networks of the same sizes are averaged")
    plain, theirs = DetectionNet(one.config), other.state_dict()
    plain.load_state_dict({name: torch.lerp(tensor, theirs[name], share) for name, tensor in one.state_dict().items()})
    return plain.eval()


@torch.no_grad()
def unfold_batch_norm(plain: DetectionNet, pictures: Tensor) -> DetectionNet:
    """The same outputs with batch norm, in evaluation mode, so that a shipped network can be trained further: inverse of `fold_batch_norm`.

    pictures: (B, 3, H, W) RGB, 0 to 255, as in training; the norms' statistics are those of these pictures.
    """
    network = DetectionNet(plain.config, norm=True).eval()
    theirs = dict(plain.named_modules())
    hooks = []
    for name, module in network.named_modules():
        known = theirs.get(name)
        if isinstance(module, Convolution) and isinstance(known, Convolution):
            hooks.append(module.register_forward_pre_hook(_Settling(known)))
        elif isinstance(module, nn.Conv2d) and isinstance(known, nn.Conv2d) and module.bias is not None:
            module.load_state_dict(known.state_dict())
    network(pictures)  # each norm is set right before its first use, so that later ones get the right inputs
    for hook in hooks:
        hook.remove()
    return network


class _Settling:
    """Gives one convolution the weights of one without norm, and its norm the statistics of its input."""

    def __init__(self, known: Convolution) -> None:
        self._known = known

    def __call__(self, module: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(module, Convolution)
        norm, bias = module.norm, self._known.conv.bias
        assert norm is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert bias is not None
        module.conv.weight.copy_(self._known.conv.weight)
        variance, mean = torch.var_mean(module.conv(inputs[0]), (0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(bias + mean)
