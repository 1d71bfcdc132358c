"""What the tests of preparing face sets share: a detector that finds what it should, workers in this process, samples."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from fer_core.faceset import FaceSetCard, FaceSplit, read_card, read_split
from fer_core.faceset import face_workers as module
from fer_core.faceset import prepare as prepare_module
from fer_core.faceset.framing import PADDING
from fer_core.faceset.importers.samples import Sample
from fer_core.faceset.prepare import import_aligned
from fer_core.labels import EXPRESSIONS
from fer_core.types import Faces
from tests.support.made_faces import face

WHERE = np.array([[0.32, 0.38], [0.68, 0.38], [0.5, 0.6], [0.35, 0.75], [0.65, 0.75]], np.float32)
VOTES = (0, 9, 0, 0, 0, 0, 0, 0, 1, 0)


class Anyway:
    """Finds one face, always at the same parts of the picture, unless the picture's middle is black."""

    identity = "anyway-1"

    def detect(self, pixels: NDArray[np.uint8], side: int | None = None, /) -> Faces:
        height, width = pixels.shape[:2]
        if not pixels[height // 2, width // 2].any():
            return Faces.none()
        pad = max(height, width) / (1 + 2 * PADDING) * PADDING
        points = WHERE * [width - 2 * pad, height - 2 * pad] + pad - 0.5
        return Faces(np.array([[0, 0, width, height]], np.float32), points[None].astype(np.float32), np.ones(1, np.float32))


class Here:
    """A process pool without processes."""

    def __init__(self, workers: int, mp_context: Any, initializer: Callable[..., None], initargs: tuple[Any, ...]) -> None:
        assert workers >= 1
        initializer(*initargs)

    def shutdown(self, cancel_futures: bool) -> None:
        assert cancel_futures

    def submit(self, work: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_result(work(*arguments))
        return future


small_batches = partial(module.face_workers, batch=3)
"""So that a set has several."""


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = cv2.getNumThreads()
    monkeypatch.setattr(module, "ProcessPoolExecutor", Here)
    for place in (module, prepare_module):
        monkeypatch.setattr(place, "build", lambda spec: Anyway())
    yield
    cv2.setNumThreads(threads)


def picture(seed: int, side: int = 48) -> NDArray[np.uint8]:
    return face(EXPRESSIONS[seed % 8], np.random.default_rng(seed), side)


def voted(name: str, split: str, data: bytes, group: str | None = None) -> Sample:
    """A sample of a set with raters."""
    return Sample(name, split, None, VOTES, group, data)


def prepared(samples: Iterable[Sample], to: Path) -> tuple[FaceSetCard, dict[str, FaceSplit]]:
    card = import_aligned(samples, to, "made", "fake", 1, open_pool=small_batches)
    assert read_card(to) == card
    return card, {split: read_split(to, split) for split in card.counts}


def columns(folder: Path, split: str) -> dict[str, list[Any]]:
    return pq.read_table(folder / f"faces-{split}.parquet").to_pydict()
