"""Faces and expressions of images in this process: the pipeline of the workers, without a labels root."""

import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_core.api.image_input import SHAPE, GivenImage, count_of, each_image
from fer_core.api.label_rows import MODEL, PREDICTED, ROWS, as_frame, label_rows, prediction_frame
from fer_core.decode.min_face import DEFAULT as DEFAULT_MIN_FACE
from fer_core.decode.min_face import MinFace
from fer_core.errors import AccessError, ImageError, UsageError
from fer_core.labels import EXPRESSIONS
from fer_core.models.store import DEFAULT, resolve_model
from fer_core.pipeline.label_images import process_images
from fer_core.pipeline.worker_models import WorkerModels, group_extractor, predictor_for
from fer_core.predict.answer_rule import AnswerOptions, answering
from fer_core.predict.predictor import Device
from fer_core.run.configuration import LUMA, TURNED, RunConfig
from fer_core.run.shard_job import ImageRef
from fer_core.storage.store import read_uri
from fer_core.storage.uri import scheme
from fer_core.tables.schema import MISSING, TOO_LARGE
from fer_core.timing import Stopwatch
from fer_core.types import CROP_SIZE, Picture, Predictions

if TYPE_CHECKING:
    from pandas import DataFrame

BATCH: Final = 32
"""Images that are processed together. What is lost by Ctrl-C is at most that."""
HELD_BYTES: Final = 128 * 2**20
"""Of images that are given as bytes or arrays and wait; a larger one waits alone."""
OBJECT_BYTES: Final = 4 * 2**20
"""Assumed of an image in an object store, whose size is not known before it is read: so many are requested ahead."""


class Labeler:
    """Labels faces with networks that stay loaded. A context manager; calls from several threads wait for each other.

    Arrays and tensors are RGB. OpenCV reads BGR: pass `image[..., ::-1]`.
    """

    def __init__(
        self,
        *,
        detector: str = "auto",
        model: str = DEFAULT,
        min_face: str = DEFAULT_MIN_FACE,
        prior: str | None = None,
        precision: float | None = None,
        device: Device = "auto",
        batch: int = BATCH,
    ) -> None:
        """detector, model, min_face, prior, precision, device: as the options of `ferflow label`.

        batch: images that are processed together. UsageError, DetectorError or ModelError where something is unknown, absent or damaged.
        """
        from fer_core.detect.registry import build, resolve

        if batch < 1:
            raise UsageError("a batch has at least one image")
        ref, spec, now = resolve_model(model), resolve(detector), datetime.now(UTC)
        built = build(spec)
        answer, smallest = answering(ref, AnswerOptions(prior, precision)), MinFace.parse(min_face)
        config = RunConfig(
            run_id="python",
            run_date=f"{now:%Y-%m-%d}",
            source="",
            root="",
            detector=spec,
            detector_identity=built.identity,
            model=str(ref.path),
            model_name=ref.name,
            model_digest=ref.digest,
            prior=answer.prior,
            precision=answer.precision,
            min_face=str(smallest),
            finest_px=smallest.finest_px,
            turned=TURNED,
            second_decode=LUMA,
            device=device,
        )
        self._config, self._batch, self._lock = config, batch, threading.Lock()
        self._models: WorkerModels | None = WorkerModels(built, predictor_for(config), group_extractor(config))

    @property
    def pipeline_digest(self) -> str:
        """Digest of everything that can change an answer, as in the tables of `ferflow label`."""
        return self._config.pipeline_digest

    def label(self, images: object, *, progress: bool = False) -> "DataFrame":
        """One row a face, and one an image without any; see `fer_core.label_images`."""
        return as_frame(self._rows(images, progress, lambda models: models))

    def detect(self, images: object, *, progress: bool = False) -> "DataFrame":
        """The same without expressions: boxes, points and quality of the faces. The network does not run."""
        without = set(PREDICTED) | set(MODEL) | {"face_id", "pipeline_digest", "run_id"}
        columns = [name for name in ROWS.names if name not in without]
        return as_frame(self._rows(images, progress, lambda models: replace(models, predictor=_NoPredictor())), columns)

    def predict(self, crops: NDArray[np.uint8]) -> "DataFrame":
        """Expressions of aligned faces: (N, 112, 112, 3) RGB uint8, as the table `faces` keeps them -> one row a crop, in their order.

        `needs_review` is the model's alone here; quality is measured in the photograph.
        """
        crops = np.asarray(crops)
        if crops.ndim != 4 or crops.shape[1:] != (CROP_SIZE, CROP_SIZE, 3) or crops.dtype != np.uint8:
            raise UsageError(
                f"aligned faces are uint8 of the shape (N, 112, 112, 3), not {crops.dtype} of {crops.shape}; label() finds faces"
            )
        with self._lock:
            predictor, parts = self._ready().predictor, list[Predictions]()
            for start in range(0, len(crops), 256):
                parts.append(predictor.predict(crops[start : start + 256]))
        return prediction_frame(Predictions.joined(parts))

    def close(self) -> None:
        """Drop the networks. Further calls are refused."""
        with self._lock:
            self._models = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ready(self) -> WorkerModels:
        if self._models is None:
            raise UsageError("this Labeler is closed")
        return self._models

    def _rows(self, images: object, progress: bool, use: Callable[[WorkerModels], WorkerModels]) -> list[pa.Table]:
        """Rows of each batch. After Ctrl-C those of the batches that are done, with a warning."""
        rows, done, total = list[pa.Table](), 0, count_of(images)
        config = replace(self._config, started_us=time.time_ns() // 1000)
        with _Bar(total, progress) as bar:
            try:
                for batch in _batches(each_image(images), self._batch):
                    with self._lock:
                        rows.append(_labelled(batch, done, config, use(self._ready())))
                    done += len(batch)
                    bar.advance(len(batch))
                    batch.clear()  # before the next ones come
            except KeyboardInterrupt:
                of = "" if total is None else f" of {total:,}"
                warnings.warn(f"interrupted after {done:,}{of} images; the rows are those of these images", RuntimeWarning, stacklevel=3)
        return rows


class _Bar:
    """A progress bar on standard error, in a terminal or a notebook only."""

    def __init__(self, total: int | None, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        shown = shown and (console.is_terminal or console.is_jupyter) and total != 1
        columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not shown)
        self._task = self._progress.add_task("images", total=total)

    def advance(self, count: int) -> None:
        """So many more are done."""
        self._progress.advance(self._task, count)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()


class _NoPredictor:
    """In place of a network whose answers are not wanted."""

    digest = ""

    def predict(self, crops: NDArray[np.uint8]) -> Predictions:
        count = len(crops)
        zero = np.zeros(count, np.float32)
        return Predictions(
            np.zeros((count, len(EXPRESSIONS)), np.float32), np.zeros(count, np.int64), zero, zero, np.zeros(count, np.bool_), zero
        )


def _batches(images: Iterator[GivenImage], size: int) -> Iterator[list[GivenImage]]:
    """Neighbours of one kind: files, or pixels."""
    batch, held = list[GivenImage](), 0
    for image in images:
        is_other = bool(batch) and (batch[0].pixels is None) != (image.pixels is None)
        if batch and (is_other or len(batch) == size or held + image.held > HELD_BYTES):
            yield batch
            batch, held = [], 0
        batch.append(image)
        held += image.held
    if batch:
        yield batch


def _labelled(batch: Sequence[GivenImage], start: int, config: RunConfig, models: WorkerModels) -> pa.Table:
    given = {f"image {start + number}": image for number, image in enumerate(batch) if image.uri is None}
    refs = [
        ImageRef(f"image {start + number}" if image.uri is None else image.uri, _assumed_size(image.uri), None, None)
        for number, image in enumerate(batch)
    ]
    decode = None if batch[0].pixels is None else partial(_picture, config.max_pixels)
    found = process_images(refs, config, models, Stopwatch(), on_progress=lambda _: None, read=partial(_content, given), decode=decode)
    return label_rows(config, start, [image.uri for image in batch], found)


def _assumed_size(uri: str | None) -> int | None:
    return None if uri is None or scheme(uri) == "file" else OBJECT_BYTES


def _content(given: dict[str, GivenImage], uri: str, limit: int, listed: int | None) -> bytes:
    """The bytes of an image."""
    image = given.get(uri)
    if image is None:
        try:
            return read_uri(uri, limit)
        except AccessError as error:  # denied for one address: the others are not affected
            raise ImageError(MISSING, str(error)) from error
    return image.content


def _picture(max_pixels: int, data: bytes, admit: Callable[[int], None]) -> Picture:
    """The inverse of `GivenImage.content` for pixels."""
    height, width = (int(side) for side in np.frombuffer(data, SHAPE, 2))
    if height * width > max_pixels:
        raise ImageError(TOO_LARGE, f"{width:,} x {height:,} pixels, more than {max_pixels:,}")
    admit(height * width)
    pixels = np.frombuffer(data, np.uint8, offset=2 * SHAPE.itemsize).reshape(height, width, 3)
    return Picture(pixels, height, width)


def label_images(
    images: object,
    *,
    detector: str = "auto",
    model: str = DEFAULT,
    min_face: str = DEFAULT_MIN_FACE,
    prior: str | None = None,
    precision: float | None = None,
    device: Device = "auto",
    batch: int = BATCH,
    progress: bool = True,
) -> "DataFrame":
    """Label the faces in images, whose pixels are RGB (OpenCV reads BGR: pass `image[..., ::-1]`) -> one row a face.

    images: one or several, also from a generator, each of them
        a path or an address such as `s3://bucket/key.jpg`, with the answer of `ferflow label`, bit for bit;
        `bytes` of an encoded file, with the same answer, but `image_uri` null;
        an array (H, W, 3), (H, W, 4) or grey (H, W); a PIL image of any mode; a tensor (3, H, W): uint8, or floats in 0..1.
    detector, model, min_face, prior, precision, device: as the options of `ferflow label`. batch: images that are processed together.
    progress: whether to show a bar, in a terminal or a notebook.

    The columns are those of the table `labels` (docs/reference/data-dictionary.md), with `run_id` null, and `status` and `reason`. An image
    without a face, or one that cannot be read, is one row of nulls with its status. The index is the position of the image, from 0.
    Of pixels `image_uri` is null and `image_sha256` is over height, width and RGB bytes. A path may be decoded at a part of its size, which
    pixels are not: their boxes may differ slightly from those of the path.
    Ctrl-C returns the rows of the images that are done, with a warning. `Labeler` keeps the networks loaded between calls.

    UsageError for what is no image; DetectorError or ModelError where something is unknown, absent or damaged; OutageError where a store
    does not answer.
    """
    with Labeler(
        detector=detector, model=model, min_face=min_face, prior=prior, precision=precision, device=device, batch=batch
    ) as labeler:
        return labeler.label(images, progress=progress)
