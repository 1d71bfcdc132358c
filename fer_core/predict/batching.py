"""Batches of aligned faces of many pictures for the network, and the results for each face."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fer_core.align.face_extractor import ExtractedFaces
from fer_core.errors import FerflowError
from fer_core.predict.base import FacePredictor
from fer_core.timing import Stopwatch
from fer_core.types import Faces, Predictions, Quality

FACES_A_BATCH: Final = 256
"""Most crops that wait for the network, 37 KB each."""


@dataclass(frozen=True, slots=True)
class FaceResults:
    """Results for all faces, in the order of `add`."""

    predictions: Predictions
    quality: Quality
    crops_png: list[bytes]
    """Empty where crops are not kept."""

    def take(self, index: NDArray[np.intp]) -> "FaceResults":
        """Of the faces at `index`, in that order."""
        packed = [self.crops_png[number] for number in index] if self.crops_png else []
        return FaceResults(self.predictions.take(index), self.quality.take(index), packed)


class FaceBatch:
    """Holds the pixels of `FACES_A_BATCH` faces at most. A context manager: ends the thread that packs crops."""

    def __init__(self, predictor: FacePredictor, watch: Stopwatch, *, keep_crops: bool) -> None:
        self._predictor, self._watch = predictor, watch
        self._waiting: list[NDArray[np.uint8]] = []
        self._faces: list[Faces] = []
        self._predictions: list[Predictions] = []
        self._quality: list[Quality] = []
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="crops") if keep_crops else None
        self._packed: list[Future[list[bytes]]] = []

    def add(self, extracted: ExtractedFaces) -> None:
        """The faces of one more picture."""
        self._waiting.extend(extracted.crops)
        self._faces.extend(extracted.faces.take(np.array([index])) for index in range(len(extracted.faces)))
        while len(self._waiting) >= FACES_A_BATCH:
            self._flush()

    def results(self) -> FaceResults:
        """All results, after the last `add`."""
        while self._waiting:
            self._flush()
        with self._watch.stage("write"):
            packed = [png for future in self._packed for png in future.result()]
        return FaceResults(Predictions.joined(self._predictions), _quality(self._quality), packed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _flush(self) -> None:
        """Assess and predict the waiting faces."""
        crops, self._waiting = np.stack(self._waiting[:FACES_A_BATCH]), self._waiting[FACES_A_BATCH:]
        faces, self._faces = concat_faces(self._faces[:FACES_A_BATCH]), self._faces[FACES_A_BATCH:]
        if self._pool is not None:
            with self._watch.stage("write"):
                if len(self._packed) > 1:
                    self._packed[-2].result()  # no more than two batches of pixels wait to be packed
                self._packed.append(self._pool.submit(_pngs, crops))
        with self._watch.stage("align"):
            self._quality.append(_judged(faces, crops))
        with self._watch.stage("predict"):
            self._predictions.append(self._predictor.predict(crops))


def _judged(faces: Faces, crops: NDArray[np.uint8]) -> Quality:
    try:
        from fer_core.align.quality import assess
    except ImportError as error:
        raise FerflowError(f"this installation of ferflow is incomplete: {error}") from error
    return assess(faces, crops)


def concat_faces(faces: Sequence[Faces]) -> Faces:
    """One record after another."""
    some = [Faces.none(), *faces]
    return Faces(*(np.concatenate([getattr(each, name) for each in some]) for name in ("boxes", "points", "scores")))


def empty_results() -> FaceResults:
    """About no face."""
    return FaceResults(Predictions.joined([]), _quality([]), [])


def _quality(parts: Sequence[Quality]) -> Quality:
    zero = np.zeros(0, np.float32)
    some = [Quality(zero, zero, zero, zero, zero, zero), *parts]
    return Quality(
        np.concatenate([part.face_size_px for part in some]),
        np.concatenate([part.sharpness for part in some]),
        np.concatenate([part.exposure for part in some]),
        np.concatenate([part.yaw_deg for part in some]),
        np.concatenate([part.pitch_deg for part in some]),
        np.concatenate([part.roll_deg for part in some]),
    )


def _pngs(crops: NDArray[np.uint8]) -> list[bytes]:
    """(N, 112, 112, 3) RGB uint8 -> N PNGs."""
    import cv2

    return [bytes(cv2.imencode(".png", crop[..., ::-1])[1]) for crop in crops]
