"""Samples of a data set -> a face set: decode, find five points, align, drop duplicates across splits, write."""

import hashlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.decode import DecodeLimits, decode
from fer_core.detect.choice import build
from fer_core.detect.protocol import Detector
from fer_core.errors import FaceSetError, ImageError
from fer_core.faceset import SPLITS, VOTE_COLUMNS, FaceSetCard, Kind, clear, make_folder, write_card, write_split
from fer_core.framing import find_points, frame, usual_points
from fer_core.importers.samples import Sample
from fer_core.labels import EXPRESSIONS

LIMITS: Final = DecodeLimits(max_bytes=64 * 2**20, max_pixels=50_000_000)
BATCH: Final = 256


@dataclass(frozen=True, slots=True)
class Located:
    """A sample's picture digest and where its face is."""

    digest: str
    """SHA-256 of the decoded pixels, so that a copy under another encoding is a duplicate too; empty where undecodable."""
    points: NDArray[np.float32] | None
    """(5, 2) in parts of width and height, or None where no face was found."""


_detector: Detector | None = None


def _start(spec: str) -> None:
    """One detector a worker process; its cores are for the other workers."""
    global _detector  # noqa: PLW0603  (process pools hand state to their workers this way only)
    cv2.setNumThreads(1)
    _detector = build(spec)


def _locate(batch: list[bytes]) -> list[Located]:
    assert _detector is not None
    return [_located(data, _detector) for data in batch]


def _located(data: bytes, detector: Detector) -> Located:
    try:
        pixels = decode(data, LIMITS).pixels
    except ImageError:
        return Located("", None)
    points = find_points(pixels, detector)
    size = np.array([pixels.shape[1], pixels.shape[0]], np.float32)
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    return Located(digest, None if points is None else points / size)


def prepare(  # noqa: PLR0917  (a table of plain values)
    samples: Iterable[Sample], to: Path, name: str, detector: str, workers: int, progress: Callable[[int], None] = lambda done: None
) -> FaceSetCard:
    """Write the face set `to`. detector: a resolved spec. progress is told how many samples are located.

    A picture that stands in several splits leaves `train` only; within a split copies stay, tied by `group`. A face set that was in `to`
    is replaced once all faces are located.
    """
    identity = build(detector).identity  # here first: an error inside a worker process would reach nobody
    make_folder(to)
    every = list(samples)
    kind: Kind = "votes" if every and every[0].votes is not None else "single"
    located = _locate_all([sample.data for sample in every], detector, workers, progress)
    held_out = {place.digest for sample, place in zip(every, located, strict=True) if sample.split != "train"}
    pairs = [(s, p) for s, p in zip(every, located, strict=True) if p.digest and (s.split != "train" or p.digest not in held_out)]
    if not pairs:
        raise FaceSetError("no picture of the set could be decoded")
    decoded = sum(place.digest != "" for place in located)
    usual = usual_points(np.array([p.points for _, p in pairs if p.points is not None], np.float32))
    clear(to)
    counts: dict[str, int] = {}
    for split in SPLITS:
        chosen = [pair for pair in pairs if pair[0].split == split]
        if chosen:
            counts[split] = write_split(to, split, _rows(chosen, usual, name))
    framed = sum(p.points is not None for _, p in pairs) / len(pairs)
    present = EXPRESSIONS if kind == "votes" else tuple(e for e in EXPRESSIONS if any(s.label == e for s, _ in pairs))
    card = FaceSetCard(name, kind, present, identity, counts, decoded - len(pairs), round(framed, 4), len(every) - decoded)
    write_card(to, card)
    return card


def _locate_all(pictures: list[bytes], detector: str, workers: int, progress: Callable[[int], None]) -> list[Located]:
    """In worker processes, in order. Spawned, because a forked OpenCV or torch may hang."""
    batches = iter([pictures[i : i + BATCH] for i in range(0, len(pictures), BATCH)])
    located: list[Located] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(detector,)) as pool:
        try:
            waiting = [pool.submit(_locate, batch) for batch in islice(batches, 2 * workers)]
            while waiting:
                located += waiting.pop(0).result()
                waiting += [pool.submit(_locate, batch) for batch in islice(batches, 1)]
                progress(len(located))
        except BrokenProcessPool as error:
            raise FaceSetError("a process that looks for faces died, most likely for want of memory; try fewer workers") from error
    return located


def _rows(pairs: list[tuple[Sample, Located]], usual: NDArray[np.float32], name: str) -> Iterator[dict[str, Any]]:
    """Rows of `faceset.SCHEMA`."""
    for sample, place in pairs:
        pixels = decode(sample.data, LIMITS).pixels
        size = np.array([pixels.shape[1], pixels.shape[0]], np.float32)
        crop = frame(pixels, (usual if place.points is None else place.points) * size)
        yield {
            "sample_id": sample.sample_id,
            "source": name,
            "split": sample.split,
            "group": sample.group or place.digest,
            "framing": "own" if place.points is None else "points",
            "label": sample.label,
            **dict(zip(VOTE_COLUMNS, sample.votes or [None] * len(VOTE_COLUMNS), strict=True)),
            "crop": _png(crop),
        }


def _png(crop: NDArray[np.uint8]) -> bytes:
    """Lossless, one channel where the face is grey."""
    grey = bool((crop[..., 0] == crop[..., 1]).all() and (crop[..., 1] == crop[..., 2]).all())
    done, data = cv2.imencode(".png", crop[..., 0] if grey else cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
    if not done:
        raise FaceSetError("a face could not be encoded as PNG")
    return data.tobytes()
