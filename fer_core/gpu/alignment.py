"""Five points -> 112x112 faces on the ArcFace template, for all faces of a batch: the same crops as `aligner.align`."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_core.align.aligner import TEMPLATE
from fer_core.gpu.integral import Pictures, Windows, area_downsample
from fer_core.gpu.warp import nearest_level, sampling_grid
from fer_core.types import CROP_SIZE

AT_A_TIME: Final = 64
"""Faces; bounds the memory to a few hundred megabytes."""
SHRUNK_BELOW: Final = 0.5
"""Crop pixels a picture pixel, as in `aligner`."""
WINDOW: Final = 168
"""Most columns of a face's surroundings once they are shrunk: the diagonal of the crop and a margin."""
COINCIDE: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Similarities:
    """Similarity transforms of T faces onto the template: with complex numbers q = a p + b, as in `aligner.similarity`."""

    a: Tensor
    """(T, 2) float64 real and imaginary part."""
    b: Tensor
    """(T, 2) float64."""
    known: Tensor
    """(T,) bool: false where the points have no similarity; a is 1 and b is 0 there."""

    @property
    def scale(self) -> Tensor:
        """(T,) float64: crop pixels a picture pixel."""
        return self.a.square().sum(1).sqrt()

    @property
    def inverse(self) -> Tensor:
        """(T, 2, 3) float64: from the crop to the picture."""
        back = self.a / self.a.square().sum(1, keepdim=True)
        real, imaginary = back[:, 0], back[:, 1]
        x = torch.stack([real, imaginary, -(real * self.b[:, 0] + imaginary * self.b[:, 1])], 1)
        y = torch.stack([-imaginary, real, imaginary * self.b[:, 0] - real * self.b[:, 1]], 1)
        return torch.stack([x, y], 1)


def similarities(points: Tensor) -> Similarities:
    """(T, 5, 2) in pixels of the picture -> the least-squares similarities: a = sum(conj(p) q) / sum(|p|^2), centred."""
    p, (q, middle) = points.double(), _template(points.device)
    mean = p.mean(1)
    centred = p - mean[:, None]
    spread = centred.square().sum((1, 2))
    real = (centred * q).sum((1, 2))
    imaginary = (centred[..., 0] * q[:, 1] - centred[..., 1] * q[:, 0]).sum(1)
    a = torch.stack([real, imaginary], 1) / spread.clamp(min=COINCIDE)[:, None]
    known = points.isfinite().flatten(1).all(1) & (spread >= COINCIDE) & (a.square().sum(1) > 0)
    one = torch.zeros_like(a)
    one[:, 0] = 1
    a = torch.where(known[:, None], a, one)
    turned = torch.stack([a[:, 0] * mean[:, 0] - a[:, 1] * mean[:, 1], a[:, 0] * mean[:, 1] + a[:, 1] * mean[:, 0]], 1)
    return Similarities(a, torch.where(known[:, None], middle - turned, 0.0), known)


@lru_cache(maxsize=8)
def _template(device: torch.device) -> tuple[Tensor, Tensor]:
    """(5, 2) centred and (2,) its mean, float64. Kept: a constant from the host would make the host wait for the device."""
    template = torch.from_numpy(TEMPLATE).double()
    return (template - template.mean(0)).to(device), template.mean(0).to(device)


@lru_cache(maxsize=8)
def _corners(device: torch.device) -> Tensor:
    """(4, 3) x, y and 1 of the crop's corners, float64."""
    return torch.tensor([[0, 0, 1], [CROP_SIZE, 0, 1], [0, CROP_SIZE, 1], [CROP_SIZE, CROP_SIZE, 1]], dtype=torch.float64).to(device)


def align_faces(pictures: Pictures, points: Tensor, picture: Tensor) -> Tensor:
    """(T, 5, 2) points and (T,) numbers of pictures -> (T, 112, 112, 3) RGB uint8, as `aligner.align_one` cuts them."""
    parts = zip(torch.split(points, AT_A_TIME), torch.split(picture.clamp(max=len(pictures.sizes) - 1), AT_A_TIME), strict=True)
    crops = [_aligned(pictures, part, own) for part, own in parts]
    return torch.cat(crops) if crops else points.new_zeros((0, CROP_SIZE, CROP_SIZE, 3), dtype=torch.uint8)


def _aligned(pictures: Pictures, points: Tensor, picture: Tensor) -> Tensor:
    onto = similarities(points)
    inverse = onto.inverse
    far = _sampled_shrunk(pictures, _surroundings(pictures, picture, onto.scale, inverse), inverse)
    near = _sampled(pictures, picture, sampling_grid(inverse, CROP_SIZE))
    crops = torch.where((onto.scale < SHRUNK_BELOW)[:, None, None, None], far, near)
    return torch.where(onto.known[:, None, None, None], nearest_level(crops), 0.0).to(torch.uint8)


def _surroundings(pictures: Pictures, picture: Tensor, scale: Tensor, inverse: Tensor) -> Windows:
    """The part of the picture that the crop shows and two crop pixels around it, at about the crop's own resolution."""
    scale = scale[:, None]
    reached = torch.matmul(_corners(picture.device), inverse.transpose(1, 2))  # (T, 4, 2)
    size = pictures.sizes[picture].flip(1).double()
    low = torch.minimum((reached.amin(1) - 2 / scale).floor().clamp(min=0), size - 1)
    high = torch.maximum(torch.minimum((reached.amax(1) + 2 / scale).ceil(), size), low + 1)
    return Windows(picture, low.long(), high.long(), ((high - low) * scale).round().clamp(min=1).long())


def _sampled_shrunk(pictures: Pictures, windows: Windows, inverse: Tensor) -> Tensor:
    """(T, 2, 3) from the crops to the pictures, read from their shrunk surroundings -> (T, 112, 112, 3) float32."""
    small = area_downsample(pictures, windows, WINDOW)
    # shrinking maps pixel centres, x + 0.5 = (x' + 0.5) * r
    offset = (inverse[:, :, 2] - windows.low + 0.5) / windows.shrink - 0.5
    place = sampling_grid(torch.cat([inverse[:, :, :2] / windows.shrink[:, :, None], offset[:, :, None]], 2), CROP_SIZE)
    last = (windows.size.clamp(max=WINDOW) - 1)[:, None, None].double()
    grid = torch.minimum(place.clamp(min=0), last) * (2 / (WINDOW - 1)) - 1
    sampled = F.grid_sample(small, grid.float(), mode="bilinear", padding_mode="border", align_corners=True)
    return sampled.permute(0, 2, 3, 1)


def _sampled(pictures: Pictures, picture: Tensor, source: Tensor) -> Tensor:
    """The pictures at (T, 112, 112, 2), bilinear, the border repeated -> (T, 112, 112, 3) float32."""
    size = pictures.sizes[picture].flip(1)[:, None, None]  # width, height
    place = torch.minimum(source.clamp(min=0), (size - 1).double())
    low = place.floor().long()
    high = torch.minimum(low + 1, size - 1)
    share = (place - low).float()
    across, down = share[..., :1], share[..., 1:]
    start, stride = pictures.starts[picture][:, None, None], size[..., 0]

    def row(y: Tensor) -> Tensor:
        left: Tensor = pictures.pixels[start + y * stride + low[..., 0]].float()
        right: Tensor = pictures.pixels[start + y * stride + high[..., 0]].float()
        return torch.lerp(left, right, across)

    upper = row(low[..., 1])
    return torch.lerp(upper, row(high[..., 1]), down)
