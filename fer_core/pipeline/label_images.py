"""Images -> the facts of each image and the predictions of its faces. Reading, decoding, detection, prediction and packing overlap.

Images are read and decoded ahead (`decode_prefetch`). Faces are detected in one image or in a group of images (`face_extractor`) and
classified in batches (`batching`), while crops are compressed. The results of an image depend only on the image.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.align.face_extractor import ExtractedFaces, FaceExtractor, refine_full_size
from fer_core.align.face_search import FaceSearch
from fer_core.decode.decode_prefetch import Decode, Decoded, DecodePrefetcher
from fer_core.decode.read_prefetch import Read
from fer_core.errors import AccessError, FerflowError, ImageError, OutageError, StoreError
from fer_core.pipeline.worker_models import WorkerModels
from fer_core.predict.batching import FaceBatch, FaceResults
from fer_core.run.configuration import RunConfig
from fer_core.run.shard_job import ImageRef
from fer_core.tables.builder import ImageFacts
from fer_core.tables.schema import LABELED, MISSING, NO_FACE, TOO_LARGE, UNREADABLE
from fer_core.threads import decoders
from fer_core.timing import Stopwatch
from fer_core.types import Faces, Picture, Quality

OnProgress = Callable[[str | None], None]

REASON_LENGTH: Final = 300
NO_CROPS: Final[NDArray[np.uint8]] = np.zeros((0, 112, 112, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """Results of a shard; `answers` has one row per face, in the order of the facts and of the faces in each image."""

    facts: list[ImageFacts]
    answers: FaceResults
    copies: int = 0
    """Images with the content of another one of the shard, whose results they have."""


def process_images(
    images: Sequence[ImageRef],
    config: RunConfig,
    tools: WorkerModels,
    watch: Stopwatch,
    *,
    on_progress: OnProgress,
    read: Read,
    pixels: int | None = None,
    decode: Decode | None = None,
) -> LabelledImages:
    """Label images. on_progress: see `shard.label_shard`. read: `store.read_uri` or a replacement. pixels: see `DecodePrefetcher`.

    decode: in place of the decoder, for bytes that are no files; its pictures are not reduced.
    """
    extractor, seen = tools.extractor(config.turned is not None), list[_Seen]()
    with (
        FaceBatch(tools.predictor, watch, keep_crops=config.keep_crops) as batch,
        _ahead(images, config, extractor, read, pixels=pixels, decode=decode) as ahead,
    ):
        group = _Group(config, extractor, ahead, watch, on_progress)
        while len(seen) < len(images):
            for one in group.look(images[len(seen) : len(seen) + extractor.pictures]):
                if isinstance(one, _Extracted):
                    batch.add(ExtractedFaces(one.faces, one.crops))
                    seen.append(replace(one, crops=NO_CROPS))
                else:
                    seen.append(one)
        on_progress(None)
        answers = batch.results()
    whole, answers = _with_copies(seen, answers)
    facts = _facts(whole, answers.quality)
    copies = sum(isinstance(one, _Copy) and row.status in (LABELED, NO_FACE) for one, row in zip(seen, facts, strict=True))
    return LabelledImages(facts, answers, copies)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A decoded image, ready for detection."""

    ref: ImageRef
    decoded: Decoded
    picture: Picture

    @property
    def second_pixels(self) -> int:
        """Most pixels of a second decode of it."""
        return self.picture.width * self.picture.height if max(self.picture.reduction) > 1 else 0


@dataclass(frozen=True, slots=True)
class _Extracted:
    """An image after detection and alignment."""

    ref: ImageRef
    sha256: str | None
    width: int
    height: int
    faces: Faces
    crops: NDArray[np.uint8]
    """(N, 112, 112, 3) RGB; empty after they were added to the batch."""
    damage: str | None
    """See `Picture`."""
    phash: str | None

    def facts(self, quality: Quality) -> ImageFacts:
        """The row of the image. quality: of its faces."""
        status, own = (LABELED, quality) if len(self.faces) else (NO_FACE, None)
        return ImageFacts(self.ref, status, self.damage, self.sha256, self.width, self.height, self.faces, own, self.phash)


@dataclass(frozen=True, slots=True)
class _Copy:
    """An image with the content of one before it."""

    ref: ImageRef
    first: int
    """Number of that image among those of the shard."""


_Seen = _Extracted | ImageFacts | _Copy
"""`ImageFacts`: the final row of a quarantined image, with status and reason."""


class _Group:
    """Detects faces in groups of images."""

    def __init__(
        self, config: RunConfig, extractor: FaceExtractor, ahead: DecodePrefetcher, watch: Stopwatch, on_progress: OnProgress
    ) -> None:
        self._config, self._extractor, self._ahead, self._watch, self._on_progress = config, extractor, ahead, watch, on_progress
        self._search = FaceSearch.of(config, extractor.side)
        self._taken = 0
        self._firsts: dict[str, int] = {}
        """Number of the first image of each content, by digest."""

    def look(self, images: Sequence[ImageRef]) -> list[_Seen]:
        """Process the first images, in order: all of them, unless they reach half of the pixel budget."""
        taken, opened = list[_Opened | ImageFacts | _Copy](), list[_Opened]()
        try:
            for ref in images:
                self._on_progress(ref.uri)
                if opened and (_pixels(opened) >= self._ahead.pixels // 2 or self._ahead.is_short(ref)):
                    break
                one = self._take(ref)
                taken.append(one)
                if isinstance(one, _Opened):
                    opened.append(one)
            found = iter(self._together(opened))
            return [next(found) if isinstance(one, _Opened) else one for one in taken]
        finally:
            for one in opened:
                self._ahead.release(one.decoded)

    def _take(self, ref: ImageRef) -> _Opened | ImageFacts | _Copy:
        decoded = self._ahead.take(ref)
        number, self._taken = self._taken, self._taken + 1
        self._watch.seconds["read"] += decoded.read_seconds
        self._watch.seconds["decode"] += decoded.decode_seconds
        first = number if decoded.sha256 is None else self._firsts.setdefault(decoded.sha256, number)
        if first < number:
            self._ahead.release(decoded)
            return _Copy(ref, first)
        if decoded.picture is not None:
            return _Opened(ref, decoded, decoded.picture)
        assert decoded.error is not None
        return _quarantined(ref, decoded, decoded.error)

    def _together(self, opened: Sequence[_Opened]) -> list[_Seen]:
        """Process all images in one call. If it fails, process each alone, so that only the image that causes the error is quarantined."""
        try:
            found = self._extracted([one.picture for one in opened])
        except Exception as error:  # noqa: BLE001  see `_failure_status`
            if len(opened) == 1:
                return [_quarantined(opened[0].ref, opened[0].decoded, error)]
            seen = list[_Seen]()
            for one in opened:
                self._on_progress(one.ref.uri)
                seen += self._together([one])
            return seen
        return self._all_refined(opened, found)

    def _all_refined(self, opened: Sequence[_Opened], found: Sequence[ExtractedFaces]) -> list[_Seen]:
        """Second decodes of a group of images run in threads, as the first do, and within the same number of pixels."""
        if len(opened) <= 1:
            return [self._refined(one, extracted, self._watch) for one, extracted in zip(opened, found, strict=True)]
        seen, watches = list[_Seen](), [Stopwatch() for _ in opened]
        with ThreadPoolExecutor(max(1, decoders(self._config.device)), thread_name_prefix="decode-again") as pool:
            for start, end in _spans([one.second_pixels for one in opened], self._ahead.pixels):
                seen += pool.map(self._refined, opened[start:end], found[start:end], watches[start:end])
        for watch in watches:
            for stage, seconds in watch.seconds.items():
                self._watch.seconds[stage] += seconds
        return seen

    def _refined(self, one: _Opened, extracted: ExtractedFaces, watch: Stopwatch) -> _Seen:
        try:
            again = partial(_decoded_again, self._config, one.decoded.data)
            full = refine_full_size(extracted, one.picture, self._search, again, watch)
        except Exception as error:  # noqa: BLE001  see `_failure_status`
            return _quarantined(one.ref, one.decoded, error)
        picture, decoded = one.picture, one.decoded
        size = picture.width, picture.height
        return _Extracted(one.ref, decoded.sha256, *size, full.faces, full.crops, picture.damage, decoded.phash)

    def _extracted(self, pictures: Sequence[Picture]) -> list[ExtractedFaces]:
        if not pictures:
            return []
        looks = [self._search.look(picture) for picture in pictures]
        return self._extractor.extract([picture.pixels for picture in pictures], looks, self._watch)


def _spans(sizes: Sequence[int], limit: int) -> list[tuple[int, int]]:
    """Consecutive spans whose sizes sum to at most `limit`, or of one that is larger: start and end of each."""
    ends, total = list[int](), 0
    for number, size in enumerate(sizes):
        if number and total + size > limit:
            ends.append(number)
            total = 0
        total += size
    return list(zip([0, *ends], [*ends, len(sizes)], strict=True))


def _pixels(opened: Sequence[_Opened]) -> int:
    return sum(one.picture.pixels.shape[0] * one.picture.pixels.shape[1] for one in opened)


def _quarantined(ref: ImageRef, decoded: Decoded, error: Exception) -> ImageFacts:
    """The row of an image that could not be processed, with the reason. Errors that are not caused by the image are raised."""
    status, reason = _failure_status(error, ref)
    width, height = (None, None) if decoded.picture is None else (decoded.picture.width, decoded.picture.height)
    return ImageFacts(ref, status, " ".join(reason.split())[:REASON_LENGTH], decoded.sha256, width, height, phash=decoded.phash)


def _failure_status(error: Exception, ref: ImageRef) -> tuple[str, str]:
    """Status and reason of an image that failed. Errors that would repeat for every image are raised."""
    if isinstance(error, ImageError):
        return error.status, error.reason
    if isinstance(error, AccessError) and ref.size is None:
        return MISSING, str(error)  # one entry of a list whose store denies access; the other entries are not affected
    if isinstance(error, OutageError):
        raise error
    if isinstance(error, StoreError):
        return MISSING, f"the store did not answer: {error}"
    if isinstance(error, FerflowError):
        raise error  # caused by the models or the installation, not by this image
    if isinstance(error, ImportError):
        raise FerflowError(f"this installation of ferflow is incomplete: {error}") from error
    if isinstance(error, MemoryError):
        return TOO_LARGE, "not enough memory to process it"
    # an unexpected error of a library on one image must not fail the other images of the shard
    return UNREADABLE, f"processing failed: {type(error).__name__}: {error}"


def _ahead(
    images: Sequence[ImageRef], config: RunConfig, extractor: FaceExtractor, read: Read, *, pixels: int | None, decode: Decode | None
) -> DecodePrefetcher:
    """Prefetches two groups of images: the next group is decoded while the current one is processed."""
    work, waiting = decode or _decoder(config, extractor), 2 * extractor.pictures
    return DecodePrefetcher(images, config.max_bytes, read, work, threads=decoders(config.device), waiting=waiting, pixels=pixels)


def _decoder(config: RunConfig, extractor: FaceExtractor) -> Decode:
    search = FaceSearch.of(config, extractor.side)

    def decoded(data: bytes, admit: Callable[[int], None]) -> Picture:
        from fer_core.decode.decoder import DecodeLimits, decode

        return decode(data, DecodeLimits(max_bytes=config.max_bytes, max_pixels=config.max_pixels), search.reduction, admit)

    return decoded


def _decoded_again(config: RunConfig, data: bytes, reduction: int, *, luma: bool) -> Picture:
    """A JPEG picture whose sides are divided by `reduction`. luma: see `decoder.decode`."""
    from fer_core.decode.decoder import DecodeLimits, decode

    limits = DecodeLimits(max_bytes=config.max_bytes, max_pixels=config.max_pixels)
    return decode(data, limits, lambda longest, shortest: reduction, luma=luma)


def _with_copies(seen: Sequence[_Seen], answers: FaceResults) -> tuple[list[_Extracted | ImageFacts], FaceResults]:
    """Copies with what their originals have, and the results of all faces, those of copies repeated."""
    ends = np.cumsum([len(one.faces) if isinstance(one, _Extracted) else 0 for one in seen], dtype=np.intp)
    whole, rows = list[_Extracted | ImageFacts](), [np.zeros(0, np.intp)]
    for number, one in enumerate(seen):
        first = one.first if isinstance(one, _Copy) else number
        original = seen[first]
        assert not isinstance(original, _Copy)
        whole.append(replace(original, ref=one.ref))
        rows.append(np.arange(ends[first - 1] if first else 0, ends[first]))
    return whole, answers.take(np.concatenate(rows)) if any(isinstance(one, _Copy) for one in seen) else answers


def _facts(seen: Sequence[_Extracted | ImageFacts], quality: Quality) -> list[ImageFacts]:
    """The rows of the images, each with its slice of the quality measures of all faces."""
    facts, start = list[ImageFacts](), 0
    for one in seen:
        if isinstance(one, _Extracted):
            end = start + len(one.faces)
            facts.append(one.facts(quality.take(np.arange(start, end))))
            start = end
        else:
            facts.append(one)
    return facts
