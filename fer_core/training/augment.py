"""Augmentation of aligned luma faces, on tensors in batches: the variations of photographs in the wild.

Random numbers come from a generator on the CPU, so that the same seed draws the same augmentation on every device.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_core.training.occlusion import occluded
from fer_core.validation import check_entries


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """Ranges are drawn uniformly, each face for itself."""

    rotate_deg: float = 15.0
    zoom: float = 0.15
    """Scale factor between 1 - zoom and 1 + zoom."""
    stretch: float = 0.08
    """Width against height."""
    shift: float = 0.06
    """In parts of the crop's side."""
    contrast: float = 0.3
    brightness: float = 0.2
    """In parts of 255."""
    blur: float = 0.25
    """Share of faces shrunk to a fraction of their size, all of a batch to the same, and enlarged again."""
    noise: float = 0.1
    """Share of faces with Gaussian noise of up to 16 grey levels."""
    occlude: float = 0.15
    """Share of faces behind a mask, dark glasses, a bar or a hand."""
    erase: float = 0.4
    """Share of faces with a rectangle covered."""
    erase_area: float = 0.2
    """Largest covered share of the crop."""

    def __post_init__(self) -> None:
        """TypeError: not a number. ValueError: out of range."""
        check_entries(self)
        shares = (self.blur, self.noise, self.occlude, self.erase, self.erase_area)
        if min(*shares, self.rotate_deg, self.shift, self.contrast, self.brightness) < 0 or max(shares) > 1:
            raise ValueError("augmentation is at least 0, and its shares are at most 1")
        if not (0 <= self.zoom < 1 and 0 <= self.stretch < 1):
            raise ValueError("zoom and stretch are at least 0 and below 1")


def augment(faces: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """(B, 1, H, W) float, 0 to 255, on any device -> the same shape and device. Deterministic for the state of a CPU generator."""
    faces = occluded(faces, config.occlude, generator)
    faces = _warped(faces, config, generator)
    faces = _softened(faces, config, generator)
    faces = _grainy(faces, config, generator)
    count = len(faces)
    gain = 1 + config.contrast * _signed((count, 1, 1, 1), generator).to(faces.device)
    lift = 255 * config.brightness * _signed((count, 1, 1, 1), generator).to(faces.device)
    mean = faces.mean((1, 2, 3), keepdim=True)
    faces = ((faces - mean) * gain + mean + lift).clamp(0, 255)
    return _erased(faces, config, generator)


def _signed(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform in [-1, 1)."""
    return 2 * torch.rand(shape, generator=generator) - 1


def _warped(faces: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Flip, rotate, zoom, stretch and shift in one resampling; the border is repeated."""
    count = len(faces)
    angle = math.radians(config.rotate_deg) * _signed((count,), generator)
    zoom = 1 + config.zoom * _signed((count,), generator)
    stretch = 1 + config.stretch * _signed((count,), generator)
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    shift = 2 * config.shift * _signed((count, 2), generator)
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    rows = torch.stack([flip * cos * stretch, -sin, shift[:, 0], flip * sin * stretch, cos, shift[:, 1]], 1)
    grid = F.affine_grid(rows.view(count, 2, 3).to(faces.device), list(faces.shape), align_corners=False)
    return F.grid_sample(faces, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _softened(faces: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Some faces lose their detail, as distant ones do: shrunk to between a fifth and a half, then enlarged."""
    picked = torch.nonzero(torch.rand(len(faces), generator=generator) < config.blur).flatten().to(faces.device)
    side = round(faces.shape[-1] * (0.2 + 0.3 * float(torch.rand(1, generator=generator))))
    if len(picked) == 0:
        return faces
    small = F.interpolate(faces[picked], size=side, mode="area")
    out = faces.clone()
    out[picked] = F.interpolate(small, size=faces.shape[-2:], mode="bilinear", align_corners=False)
    return out


def _grainy(faces: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Some faces were taken in the dark."""
    picked = torch.nonzero(torch.rand(len(faces), generator=generator) < config.noise).flatten()
    if len(picked) == 0:
        return faces
    sigma = 16 * torch.rand((len(picked), 1, 1, 1), generator=generator)
    grain = sigma * torch.randn((len(picked), *faces.shape[1:]), generator=generator)
    out = faces.clone()
    out[picked.to(faces.device)] += grain.to(faces.device)
    return out.clamp(0, 255)


def _erased(faces: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Some faces have a rectangle of one random grey (Zhong et al., "Random Erasing", AAAI 2020)."""
    count, _, height, width = faces.shape
    picked = torch.rand(count, generator=generator) < config.erase
    area = config.erase_area * torch.rand(count, generator=generator)
    aspect = torch.exp(math.log(3) * _signed((count,), generator))
    h, w = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    top, left = torch.rand(count, generator=generator) * (1 - h), torch.rand(count, generator=generator) * (1 - w)
    y = ((torch.arange(height) + 0.5) / height).view(1, -1, 1)
    x = ((torch.arange(width) + 0.5) / width).view(1, 1, -1)
    rows = (y >= top.view(-1, 1, 1)) & (y < (top + h).view(-1, 1, 1))
    columns = (x >= left.view(-1, 1, 1)) & (x < (left + w).view(-1, 1, 1))
    covered = (rows & columns & picked.view(-1, 1, 1)).unsqueeze(1)
    grey = 255 * torch.rand((count, 1, 1, 1), generator=generator)
    return torch.where(covered.to(faces.device), grey.to(faces.device), faces)
