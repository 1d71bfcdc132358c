"""Worker processes that detect and align faces in encoded pictures, a bounded number of batches at a time."""

import hashlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.decode.decoder import decode
from fer_core.detect.base import Detector
from fer_core.detect.registry import build, crop_side
from fer_core.errors import FaceSetError, ImageError
from fer_core.faceset import Row
from fer_core.faceset.framing import find_points, frame
from fer_core.faceset.importers.raw import LIMITS

BATCH: Final = 64
BATCH_BYTES: Final = 16 * 2**20
"""A batch ends at either."""

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class DetectedFace:
    """Result of detection in one picture."""

    digest: str
    """SHA-256 of the decoded pixels, so that a copy under another encoding is a duplicate too; empty where undecodable."""
    points: NDArray[np.float32] | None
    """(5, 2) in parts of width and height, or None where no face was found."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Processes, and the bounds on their batches."""

    executor: ProcessPoolExecutor
    ahead: int
    """Batches in flight."""
    batch: int = BATCH
    batch_bytes: int = BATCH_BYTES


@contextmanager
def face_workers(detector: str, workers: int, batch: int = BATCH, batch_bytes: int = BATCH_BYTES) -> Iterator[Pool]:
    """Processes with a detector each. They end with this block, also after an exception, and with this process, also when it is killed.

    Spawned, because a forked OpenCV or torch may hang.
    """
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(detector,))
    try:
        yield Pool(executor, 2 * workers, batch, batch_bytes)
    finally:
        executor.shutdown(cancel_futures=True)


def ordered_map(pool: Pool, work: Callable[[list[Given]], list[Made]], tasks: Iterable[tuple[Row, Given]]) -> Iterator[tuple[Row, Made]]:
    """(row, result of `work` for its input), in the order of the tasks."""
    waiting = deque[tuple[list[Row], Future[list[Made]]]]()
    try:
        for batch in _batches(pool, tasks):
            with _interrupt_blocked():
                future = pool.executor.submit(work, [given for _, given in batch])
            waiting.append(([row for row, _ in batch], future))
            if len(waiting) > pool.ahead:
                yield from _finished(waiting)
        while waiting:
            yield from _finished(waiting)
    except BrokenProcessPool as error:
        raise FaceSetError("a detection process died, most likely out of memory; try fewer workers") from error


@contextmanager
def _interrupt_blocked() -> Iterator[None]:
    """A process that starts inside is started whole, and inherits the mask: at Ctrl-C it would else print a traceback of its imports."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it unblocks SIGINT in the thread that starts it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _finished(waiting: deque[tuple[list[Row], Future[list[Made]]]]) -> Iterator[tuple[Row, Made]]:
    rows, future = waiting.popleft()
    yield from zip(rows, future.result(), strict=True)


def _batches(pool: Pool, tasks: Iterable[tuple[Row, Given]]) -> Iterator[list[tuple[Row, Given]]]:
    batch, size = list[tuple[Row, Given]](), 0
    for task in tasks:
        batch.append(task)
        size += len(task[0]["crop"])
        if len(batch) == pool.batch or size >= pool.batch_bytes:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


_detector: Detector | None = None
_side: int | None = None


def _start(spec: str) -> None:
    """One detector a worker process, on one thread because every core has a worker. Only the command handles Ctrl-C."""
    global _detector, _side  # process pools hand state to their workers this way only
    parent = multiprocessing.parent_process()
    if parent is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=_end_with, args=(parent.join,), daemon=True).start()
    cv2.setNumThreads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # before the built-in detector loads torch: each process has a core, not all of them
    _detector, _side = build(spec), crop_side(spec)


def _end_with(wait: Callable[[], None]) -> None:
    """End this worker process with the command: otherwise a pool's workers would wait for ever after the command is killed."""
    wait()
    os._exit(1)


def detect_faces(pictures: list[bytes]) -> list[DetectedFace]:
    """Encoded pictures -> their faces."""
    assert _detector is not None
    return [_look(data, _detector) for data in pictures]


def _look(data: bytes, detector: Detector) -> DetectedFace:
    try:
        picture = decode(data, LIMITS)
    except ImageError:
        return DetectedFace("", None)
    if picture.damage is not None:  # what is left of it is labelled, for review, but teaches nothing
        return DetectedFace("", None)
    pixels = picture.pixels
    points = find_points(pixels, detector, _side)
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    return DetectedFace(digest, None if points is None else points / _size(pixels))


def align_faces(pictures: list[tuple[bytes, NDArray[np.float32]]]) -> list[bytes]:
    """Encoded pictures and five points (5, 2) in parts of width and height -> aligned faces as PNG."""
    return [_aligned(data, points) for data, points in pictures]


def _aligned(data: bytes, points: NDArray[np.float32]) -> bytes:
    pixels = decode(data, LIMITS).pixels
    return _png(frame(pixels, points * _size(pixels)))


def _size(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(2,) width and height."""
    return np.array([pixels.shape[1], pixels.shape[0]], np.float32)


def _png(crop: NDArray[np.uint8]) -> bytes:
    """Lossless, one channel where the face is grey."""
    grey = bool((crop[..., 0] == crop[..., 1]).all() and (crop[..., 1] == crop[..., 2]).all())
    done, data = cv2.imencode(".png", crop[..., 0] if grey else cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
    if not done:
        raise FaceSetError("a face could not be encoded as PNG")
    return data.tobytes()
