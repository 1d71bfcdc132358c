"""Corruptions of faces in five strengths, to measure the robustness of a model; never for training.

After the idea of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations" (ICLR 2019);
kinds and strengths are ours, in pixels and grey levels of the aligned 112x112 crop.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.models.network_config import WINDOW_LEFT, WINDOW_SIZE, WINDOW_TOP
from fer_core.types import CROP_SIZE

Corruption = Literal["occlusion", "rotation", "blur", "low_resolution", "noise"]
CORRUPTIONS: Final[tuple[Corruption, ...]] = get_args(Corruption)


@dataclass(frozen=True, slots=True)
class Strengths:
    """The five amounts of a corruption, weakest first."""

    amounts: tuple[float, float, float, float, float]
    unit: str


STRENGTHS: Final[dict[Corruption, Strengths]] = {
    "occlusion": Strengths((5, 10, 20, 30, 40), "% of the network's window covered"),
    "rotation": Strengths((5, 10, 20, 30, 45), "degrees"),
    "blur": Strengths((1, 2, 3, 4, 6), "sigma, px of the crop"),
    "low_resolution": Strengths((48, 32, 24, 16, 12), "px left of the crop's 112"),
    "noise": Strengths((5, 10, 20, 35, 50), "sigma, grey levels"),
}


def corrupt(crops: NDArray[np.uint8], kind: Corruption, strength: int, seed: int, ids: Sequence[str] | None = None) -> NDArray[np.uint8]:
    """(N, 112, 112[, 3]) uint8 aligned faces -> the same shape, corrupted. strength: 1 to 5, or 0 for a plain copy.

    Random draws for a face depend on seed, kind and its id, or without ids its index in `crops`: not on the other faces, and not on the
    strength, so that a block only grows and noise only increases. A grey face and its coloured copy get the same corruption.
    """
    if kind not in CORRUPTIONS or not 0 <= strength <= len(STRENGTHS[kind].amounts):
        raise ValueError(f"no corruption {kind!r} of strength {strength}")
    if ids is not None and len(ids) != len(crops):
        raise ValueError(f"{len(crops)} faces, but {len(ids)} ids")
    out = crops.copy()
    if strength == 0:
        return out
    spoil, amount = _FUNCTIONS[kind], STRENGTHS[kind].amounts[strength - 1]
    for index, face in enumerate(crops):
        out[index] = spoil(face, amount, _draws(seed, kind, index if ids is None else ids[index]))
    return out


def _draws(seed: int, kind: Corruption, face: int | str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed} {kind} {face}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16]))


def occlusion(face: NDArray[np.uint8], percent: float, draws: np.random.Generator) -> NDArray[np.uint8]:
    """A square of one grey, anywhere inside the network's window; percent: of the window's area."""
    side = round(WINDOW_SIZE * (percent / 100) ** 0.5)
    down, across, grey = draws.random(3)
    top = WINDOW_TOP + int(down * (WINDOW_SIZE - side + 1))
    left = WINDOW_LEFT + int(across * (WINDOW_SIZE - side + 1))
    out = face.copy()
    out[top : top + side, left : left + side] = int(256 * grey)
    return out


def rotation(face: NDArray[np.uint8], degrees: float, draws: np.random.Generator) -> NDArray[np.uint8]:
    """Turned about the middle of the network's window, either way; what comes in from outside repeats the border, as in `align`."""
    centre = (WINDOW_LEFT + (WINDOW_SIZE - 1) / 2, WINDOW_TOP + (WINDOW_SIZE - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, degrees if draws.random() < 0.5 else -degrees, 1.0)
    turned = cv2.warpAffine(face, matrix, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned, np.uint8)


def blur(face: NDArray[np.uint8], sigma: float, draws: np.random.Generator) -> NDArray[np.uint8]:
    """Gaussian, out of focus. sigma: pixels of the crop."""
    del draws
    return np.asarray(cv2.GaussianBlur(face, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.uint8)


def low_resolution(face: NDArray[np.uint8], side: float, draws: np.random.Generator) -> NDArray[np.uint8]:
    """A distant face: averaged down to `side` pixels and enlarged bilinearly, as the aligner does with a small face."""
    del draws
    small = cv2.resize(face, (int(side), int(side)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_LINEAR), np.uint8)


def noise(face: NDArray[np.uint8], sigma: float, draws: np.random.Generator) -> NDArray[np.uint8]:
    """Gaussian and independent from pixel to pixel, the same in all three colours; cut off at black and white. sigma: grey levels."""
    grain = sigma * draws.standard_normal((CROP_SIZE, CROP_SIZE))
    spoilt = face + (grain if face.ndim == 2 else grain[..., None])
    return np.clip(np.rint(spoilt), 0, 255).astype(np.uint8)


_FUNCTIONS: Final[dict[Corruption, Callable[[NDArray[np.uint8], float, np.random.Generator], NDArray[np.uint8]]]] = {
    "occlusion": occlusion,
    "rotation": rotation,
    "blur": blur,
    "low_resolution": low_resolution,
    "noise": noise,
}
