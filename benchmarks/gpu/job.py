"""The whole job for benchmarks/gpu/compare.py: JPEG files on a local disk -> decoding threads -> looker -> predictor -> Parquet parts.

The stages are those of a shard, without the store, the scheduler and the ledger around them, so that it runs where neither Prefect nor
Dask is. Several processes share the GPU: decoding leaves the interpreter's lock, but opening files, quality and tables do not, and one
interpreter cannot prepare thousands of pictures a second. All of them load and warm up, wait for each other, and are timed from there.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from multiprocessing import get_context
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fer_core.align.face_extractor import ExtractedFaces
from fer_core.align.quality import assess
from fer_core.decode.min_face import Look
from fer_core.gpu.face_extractor import GpuFaceExtractor
from fer_core.gpu.predictor import GpuPredictor
from fer_core.run.configuration import RunConfig
from fer_core.run.shard_job import ImageRef
from fer_core.tables.builder import ImageFacts, images_table, labels_table, part_metadata
from fer_core.tables.parquet_writer import write_part
from fer_core.tables.schema import LABELED, NO_FACE
from fer_core.timing import Stopwatch
from fer_core.types import Predictions

SHARD = 1000
"""Pictures a Parquet part."""
AHEAD = 3
"""Batches of the looker that are decoded ahead, at most."""
LEAST_FACE = 16.0
PATIENCE = 600.0
"""Seconds that processes wait for each other."""


Decode = Callable[[bytes], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What each process needs to know."""

    device: str
    model: str
    folder: str
    """For the parts."""
    threads: int
    """That decode, in each process."""
    processes: int
    """Plain JPEGs are decoded on the GPU, by the batch."""
    small: bool
    """Small batches, for a CPU."""


def images_per_second(files: Sequence[Path], settings: Settings) -> dict[str, Any]:
    """Label all files once, in `settings.processes` processes, and tell how fast, and where each spent its time."""
    context = get_context("spawn")
    barrier, answers = context.Barrier(settings.processes + 1), context.Queue()
    shares = [[str(file) for file in files[number :: settings.processes]] for number in range(settings.processes)]
    workers = [
        context.Process(target=_work, args=(share, settings, number, barrier, answers), daemon=True) for number, share in enumerate(shares)
    ]
    for worker in workers:
        worker.start()
    barrier.wait(PATIENCE)
    start = time.perf_counter()
    told = [one for one in (answers.get(timeout=PATIENCE) for _ in workers) if one is not None]
    seconds = time.perf_counter() - start
    for worker in workers:
        worker.join()
    if len(told) < len(workers):
        raise SystemExit("a process of the whole job failed; see above")
    return {
        "images": len(files),
        "faces": sum(one["faces"] for one in told),
        "seconds": round(seconds, 3),
        "images_per_second": round(len(files) / seconds, 1),
        "processes": settings.processes,
        "threads_each": settings.threads,
        "parquet_bytes": sum(one["bytes"] for one in told),
        "main_thread_seconds": {name: round(sum(one["stages"][name] for one in told), 3) for name in told[0]["stages"]},
    }


def decoder() -> tuple[Decode, str]:
    """Bytes -> (H, W, 3) RGB uint8, and what does it: `fer_core.decode.decoder`, or OpenCV where Pillow is missing."""
    if find_spec("PIL") is None:
        return lambda data: np.ascontiguousarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]), "opencv"
    from fer_core.decode.decoder import DecodeLimits, decode

    limits = DecodeLimits()
    return lambda data: decode(data, limits).pixels, "fer_core.decode.decoder"


def _work(files: list[str], settings: Settings, number: int, barrier: Barrier, answers: "Queue[dict[str, Any] | None]") -> None:
    """One process. What goes wrong in it is shown, and ends the others' waiting."""
    try:
        answers.put(_worked(files, settings, number, barrier))
    except BaseException:
        barrier.abort()
        answers.put(None)
        raise


def _worked(files: list[str], settings: Settings, number: int, barrier: Barrier) -> dict[str, Any]:
    """Load, warm up, wait for the others, label."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    device = torch.device(settings.device)
    small = {"piece_pixels": 1, "second_looks": 8} if settings.small else {}
    dtype = torch.float32 if settings.small else torch.float16
    extractor = GpuFaceExtractor(device=device, dtype=dtype, **small)
    predictor = GpuPredictor(settings.model, device, dtype, 16 if settings.small else 256)
    decode, _ = decoder()
    warm = [decode(Path(file).read_bytes()) for file in files[: min(len(files), 2 * extractor.pictures if not settings.small else 1)]]
    for extracted in extractor.extract(warm, [Look(LEAST_FACE)] * len(warm), Stopwatch()):
        predictor.predict(extracted.crops)
    barrier.wait(PATIENCE)
    job = _Job(extractor, predictor, settings, number)
    with ThreadPoolExecutor(settings.threads) as pool:
        for shard in range(0, len(files), SHARD):
            job.label(files[shard : shard + SHARD], pool, decode, device)
    return {"faces": job.faces, "bytes": job.bytes, "stages": job.seconds}


class _Job:
    """The main thread of one process."""

    def __init__(self, extractor: GpuFaceExtractor, predictor: GpuPredictor, settings: Settings, number: int) -> None:
        self._extractor, self._predictor, self._settings, self._number = extractor, predictor, settings, number
        self.faces = self.bytes = self._parts = 0
        self.seconds = dict.fromkeys(("wait_for_pictures", "look", "predict", "write"), 0.0)

    def label(self, files: Sequence[str], pool: ThreadPoolExecutor, decode: Decode, device: torch.device) -> None:
        """One part."""
        config = _config(self._settings, self._predictor.digest)
        facts: list[Future[ImageFacts]] = []
        answers: list[Predictions] = []
        batches = self._decoded(files, pool, decode, device)
        for batch in self._timed("wait_for_pictures", batches):
            start = time.perf_counter()
            extracted = self._extractor.extract([pixels for _, _, pixels in batch], [Look(LEAST_FACE)] * len(batch), Stopwatch())
            self.seconds["look"] += time.perf_counter() - start
            facts += [pool.submit(_facts, *each, one) for each, one in zip(batch, extracted, strict=True)]
            start = time.perf_counter()
            answers.append(self._predictor.predict(np.concatenate([one.crops for one in extracted])))
            self.seconds["predict"] += time.perf_counter() - start
        start = time.perf_counter()
        self._write(config, [fact.result() for fact in facts], Predictions.joined(answers))
        self.seconds["write"] += time.perf_counter() - start

    def _decoded(self, files: Sequence[str], pool: ThreadPoolExecutor, decode: Decode, device: torch.device) -> Iterator[list[Any]]:
        """Batches of (ref, digest, pixels), decoded ahead by the pool."""
        size = self._extractor.pictures
        running: deque[Future[Any]] = deque()
        rest = iter(files)

        def submitted(count: int) -> Iterator[Future[Any]]:
            for file in islice(rest, count):
                yield pool.submit(_decoded, file, decode)

        running.extend(submitted(AHEAD * size))
        while running:
            batch = [running.popleft().result() for _ in range(min(size, len(running)))]
            running.extend(submitted(len(batch)))
            yield batch

    def _timed(self, name: str, items: Iterator[Any]) -> Iterator[Any]:
        while True:
            start = time.perf_counter()
            item = next(items, None)
            self.seconds[name] += time.perf_counter() - start
            if item is None:
                return
            yield item

    def _write(self, config: RunConfig, facts: list[ImageFacts], predictions: Predictions) -> None:
        self._parts += 1
        for name, table in (("labels", labels_table(config, facts, predictions)), ("images", images_table(config, facts))):
            data = write_part(table, part_metadata(config))
            (Path(self._settings.folder) / f"{name}-{self._number:02d}-{self._parts:04d}.parquet").write_bytes(data)
            self.bytes += len(data)
        self.faces += len(predictions)


def _decoded(file: str, decode: Decode) -> tuple[ImageRef, str, NDArray[np.uint8]]:
    data = Path(file).read_bytes()
    return ImageRef(file, len(data), None, None), hashlib.sha256(data).hexdigest(), decode(data)


def _facts(ref: ImageRef, digest: str, pixels: NDArray[np.uint8], extracted: ExtractedFaces) -> ImageFacts:
    height, width = pixels.shape[:2]
    quality = assess(extracted.faces, extracted.crops)
    return ImageFacts(ref, LABELED if len(extracted.faces) else NO_FACE, None, digest, width, height, extracted.faces, quality)


def _config(settings: Settings, digest: str) -> RunConfig:
    return RunConfig("benchmark", "2026-01-01", "benchmark", settings.folder, "builtin", "builtin", settings.model, "benchmark", digest)
