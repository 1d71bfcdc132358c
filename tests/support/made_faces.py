"""Drawn faces whose expressions a tiny network learns in seconds, and face sets and models made of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fer_core.faceset import VOTE_COLUMNS, FaceSetCard, Kind, write_card, write_split
from fer_core.labels import EXPRESSIONS
from fer_core.models.network import MultiscaleNet, NetworkConfig
from fer_core.models.novelty import NoveltyScale
from fer_core.models.precision import fit_precision
from fer_core.models.prior import PRIORS, ClassPrior, PriorCalibration
from fer_core.models.review_thresholds import ReviewRule
from fer_core.models.store import ModelRef, ModelSpec, save_model
from fer_core.training.augment import AugmentConfig
from fer_core.training.config import TrainConfig

# Networks this small gain nothing from a second thread, and where the cores are busy its barriers cost ten times the work.
torch.set_num_threads(1)

SMALL: Final = NetworkConfig(
    scale=4,
    stem=8,
    widths=(8, 16),
    blocks=(1, 1),
    taps=(0, 1),
    attention=True,
    grid=4,
    token=8,
    queries=2,
    embedding=16,
    dropout=0.1,
    logit_scale=16.0,
)
"""Learns drawn faces; far too small for real ones."""

CALM: Final = AugmentConfig(
    rotate_deg=5, zoom=0.05, stretch=0.03, shift=0.03, contrast=0.2, brightness=0.1, blur=0.1, noise=0, occlude=0, erase=0.1
)

QUICK: Final = TrainConfig(
    name="quick", network=SMALL, augment=CALM, epochs=6, batch=32, learning_rate=0.1, average=0.95, dev_share=0.2, seed=1
)

# expression -> curve of the mouth (positive smiles), its height, slant of the brows (positive: inner ends up), height of the eyes,
# wrinkled nose, crooked mouth
_LOOKS: Final[dict[str, tuple[float, float, float, float, bool, bool]]] = {
    "neutral": (0, 1, 0, 4, False, False),
    "happiness": (12, 3, 0, 3, False, False),
    "surprise": (0, 12, 5, 8, False, False),
    "sadness": (-10, 1, 7, 3, False, False),
    "anger": (-3, 1, -8, 3, False, False),
    "disgust": (-6, 4, -3, 1, True, False),
    "fear": (-5, 8, 8, 8, False, False),
    "contempt": (0, 1, 0, 3, False, True),
}


def face(expression: str, rng: np.random.Generator, side: int = 112) -> NDArray[np.uint8]:
    """(side, side) grey: one aligned face, a little different each time."""
    curve, opening, slant, eye, wrinkle, lopsided = _LOOKS[expression]
    skin, dark = int(rng.integers(140, 220)), int(rng.integers(10, 60))
    picture = np.full((112, 112), int(rng.integers(0, 255)), np.uint8)
    dx, dy = rng.normal(0, 1.0, 2)
    cv2.ellipse(picture, (56, 62), (42, 54), 0, 0, 360, skin, -1)
    for x, inner in ((38, 1), (74, -1)):
        centre = (round(x + dx), round(52 + dy))
        cv2.ellipse(picture, centre, (8, max(1, round(eye))), 0, 0, 360, 250, -1)
        cv2.circle(picture, centre, min(4, round(eye)), dark, -1)
        lift = round(slant / 2)
        cv2.line(picture, (centre[0] - inner * 10, centre[1] - 12 + lift), (centre[0] + inner * 10, centre[1] - 12 - lift), dark, 3)
    if wrinkle:
        for y in (58, 62, 66):
            cv2.line(picture, (48, y), (64, y), dark, 2)
    across = np.linspace(-1, 1, 21)
    bend = curve * (1 - across**2) - (8 * np.maximum(0, across) if lopsided else 0)
    line = np.stack([56 + dx + 18 * across, 90 + dy + bend - curve / 2], 1).round().astype(np.int32)
    cv2.polylines(picture, [line], False, dark, 3)
    if opening > 2:
        cv2.ellipse(picture, (round(56 + dx), round(90 + dy)), (10, round(opening)), 0, 0, 360, dark, -1)
    noisy = np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
    return noisy if side == 112 else np.asarray(cv2.resize(noisy, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def faces(count: int, seed: int = 0, colour: bool = False) -> NDArray[np.uint8]:
    """(count, 112, 112) or, tinted, (count, 112, 112, 3); expressions in turn."""
    rng = np.random.default_rng(seed)
    grey = np.stack([face(EXPRESSIONS[i % len(EXPRESSIONS)], rng) for i in range(count)])
    return tinted(grey) if colour else grey


def tinted(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(..., H, W) -> (..., H, W, 3), clearly not grey."""
    return np.stack([grey, grey // 2, 255 - grey], -1).astype(np.uint8)


def encoded(pixels: NDArray[np.uint8], suffix: str = ".png") -> bytes:
    """(H, W) or (H, W, 3) RGB -> the bytes of a file."""
    bgr = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(suffix, bgr)
    assert done
    return data.tobytes()


def rows(
    count: int, split: str, kind: Kind, colour: bool = False, classes: Sequence[str] = EXPRESSIONS, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """Rows of a face set."""
    rng = np.random.default_rng([seed, len(split)])
    for index in range(count):
        expression = classes[index % len(classes)]
        crop = face(expression, rng)
        votes: list[int | None] = [None] * len(VOTE_COLUMNS)
        if kind == "votes":
            votes = [0] * len(VOTE_COLUMNS)
            votes[EXPRESSIONS.index(expression)] = 8
            votes[int(rng.integers(0, len(VOTE_COLUMNS)))] += 2
        yield {
            "sample_id": f"{split}{index:05d}.png",
            "source": "made",
            "split": split,
            "group": f"{split}-{index}",
            "framing": "points",
            "label": expression if kind == "single" else None,
            **dict(zip(VOTE_COLUMNS, votes, strict=True)),
            "crop": encoded(tinted(crop) if colour else crop),
        }


def made_faceset(
    folder: Path, counts: Mapping[str, int], kind: Kind = "votes", colour: bool = False, classes: tuple[str, ...] = EXPRESSIONS
) -> Path:
    """Write a face set of drawn faces."""
    written = {split: write_split(folder, split, rows(count, split, kind, colour, classes)) for split, count in counts.items()}
    write_card(folder, FaceSetCard("made", kind, classes, "drawn", written, 0, 1.0))
    return folder


def small_spec(network: NetworkConfig = SMALL, temperature: float = 0.5) -> ModelSpec:
    """A spec that makes an untrained network's answers differ from face to face."""
    return ModelSpec(network, temperature, flip=True, review=ReviewRule(0.5, 0.9))


def class_prior(tempered: float = 0.5, novelty: bool = True) -> ClassPrior:
    """A class prior whose calibrations differ."""
    shares = np.array([0.4, 0.25, 0.1, 0.1, 0.08, 0.03, 0.03, 0.01])
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.full(8, 0.1), 2000)
    curve = fit_precision(probabilities, (probabilities.cumsum(axis=1) > random.random((2000, 1))).argmax(axis=1))
    calibrations = {
        name: PriorCalibration(1 + 0.1 * number, ReviewRule(0.4 + 0.1 * number, 0.9), curve) for number, name in enumerate(PRIORS)
    }
    bias = tuple(float(value) for value in np.log(shares).round(6))
    return ClassPrior(
        bias, tempered, calibrations, NoveltyScale(8.0, (0.0,) * 8, tuple(np.linspace(-0.5, 0.9, 20).tolist()), 0.95) if novelty else None
    )


def small_model_with_prior(folder: Path, network: NetworkConfig = SMALL) -> ModelRef:
    """The same untrained model, with a class prior."""
    torch.manual_seed(0)
    spec = replace(small_spec(network), prior=class_prior())
    return save_model(folder, MultiscaleNet(network).state_dict(), spec, {"name": folder.name})


def small_model(folder: Path, network: NetworkConfig = SMALL, temperature: float = 0.5) -> ModelRef:
    """An untrained model on disk, the same each time."""
    torch.manual_seed(0)
    return save_model(folder, MultiscaleNet(network).state_dict(), small_spec(network, temperature), {"name": folder.name})
