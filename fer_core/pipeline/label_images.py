"""Images -> what is known of each and of its faces. Reading, decoding, looking, predicting and packing overlap.

Pictures are read and decoded ahead (`decode_prefetch`), looked at one by one or some at a time (`face_extractor`), their faces go through
the network many at a time (`batching`), and their crops are packed meanwhile. What is found out about an image depends on nothing but the
image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.align.face_extractor import ExtractedFaces, FaceExtractor, min_detectable_px, refine_full_size
from fer_core.decode.decode_prefetch import Decoded, DecodePrefetcher
from fer_core.decode.read_prefetch import Read
from fer_core.errors import AccessError, FerflowError, ImageError, OutageError, StoreError
from fer_core.pipeline.worker_models import WorkerModels
from fer_core.predict.batching import FaceBatch, FaceResults
from fer_core.run import ImageRef, RunConfig
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
    """A shard's answers; those about faces in the order of the facts and of the faces in each."""

    facts: list[ImageFacts]
    answers: FaceResults


def process_images(
    images: Sequence[ImageRef], config: RunConfig, tools: WorkerModels, watch: Stopwatch, *, on_progress: OnProgress, read: Read
) -> LabelledImages:
    """Label images. on_progress: see `shard.label_shard`. read: `store.read_uri`, or something that takes its place."""
    extractor, seen = tools.extractor(), list[_Seen]()
    with (
        FaceBatch(tools.predictor, watch, keep_crops=config.keep_crops) as batch,
        _ahead(images, config, extractor, read) as ahead,
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
    return LabelledImages(_facts(seen, answers.quality), answers)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A decoded picture whose turn it is."""

    ref: ImageRef
    decoded: Decoded
    picture: Picture


@dataclass(frozen=True, slots=True)
class _Extracted:
    """An image whose faces were found."""

    ref: ImageRef
    sha256: str | None
    width: int
    height: int
    faces: Faces
    crops: NDArray[np.uint8]
    """(N, 112, 112, 3) RGB; none once the batch has them."""

    def facts(self, quality: Quality) -> ImageFacts:
        """Its row. quality: of its faces."""
        status, own = (LABELED, quality) if len(self.faces) else (NO_FACE, None)
        return ImageFacts(self.ref, status, None, self.sha256, self.width, self.height, self.faces, own)


_Seen = _Extracted | ImageFacts
"""An image that cannot be processed is quarantined: its row, with status and reason, is known at once."""


class _Group:
    """Pictures that are looked at together."""

    def __init__(
        self, config: RunConfig, extractor: FaceExtractor, ahead: DecodePrefetcher, watch: Stopwatch, on_progress: OnProgress
    ) -> None:
        self._config, self._extractor, self._ahead, self._watch, self._on_progress = config, extractor, ahead, watch, on_progress

    def look(self, images: Sequence[ImageRef]) -> list[_Seen]:
        """What became of each of the first ones: of all, unless they have more than half of the pixels that may be in memory."""
        taken, opened = list[_Opened | ImageFacts](), list[_Opened]()
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

    def _take(self, ref: ImageRef) -> _Opened | ImageFacts:
        decoded = self._ahead.take(ref)
        self._watch.seconds["read"] += decoded.read_seconds
        self._watch.seconds["decode"] += decoded.decode_seconds
        if decoded.picture is not None:
            return _Opened(ref, decoded, decoded.picture)
        assert decoded.error is not None
        return _quarantined(ref, decoded, decoded.error)

    def _together(self, opened: Sequence[_Opened]) -> list[_Seen]:
        """If looking at all at once fails, each by itself, so that the one that it is due to costs no other."""
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
        return [self._refined(one, extracted) for one, extracted in zip(opened, found, strict=True)]

    def _refined(self, one: _Opened, extracted: ExtractedFaces) -> _Seen:
        try:
            again = partial(_decoded_again, self._config, one.decoded.data)
            full = refine_full_size(extracted, one.picture, self._config.min_face_px, again, self._watch)
        except Exception as error:  # noqa: BLE001  see `_failure_status`
            return _quarantined(one.ref, one.decoded, error)
        return _Extracted(one.ref, one.decoded.sha256, one.picture.width, one.picture.height, full.faces, full.crops)

    def _extracted(self, pictures: Sequence[Picture]) -> list[ExtractedFaces]:
        if not pictures:
            return []
        smallest = min_detectable_px(pictures, self._config.min_face_px)
        return self._extractor.extract([picture.pixels for picture in pictures], smallest, self._watch)


def _pixels(opened: Sequence[_Opened]) -> int:
    return sum(one.picture.pixels.shape[0] * one.picture.pixels.shape[1] for one in opened)


def _quarantined(ref: ImageRef, decoded: Decoded, error: Exception) -> ImageFacts:
    """The row of an image that could not be processed, for this reason. Errors that are no fault of the image are raised."""
    status, reason = _failure_status(error, ref)
    size = (None, None) if decoded.picture is None else (decoded.picture.width, decoded.picture.height)
    return ImageFacts(ref, status, " ".join(reason.split())[:REASON_LENGTH], decoded.sha256, *size)


def _failure_status(error: Exception, ref: ImageRef) -> tuple[str, str]:
    """Status and reason of an image that something failed with. What would fail with every next one as well is raised."""
    if isinstance(error, ImageError):
        return error.status, error.reason
    if isinstance(error, AccessError) and ref.size is None:
        return MISSING, str(error)  # one address of a list, whose store had refused it before: others are none of its matter
    if isinstance(error, OutageError):
        raise error
    if isinstance(error, StoreError):
        return MISSING, f"the store did not answer: {error}"
    if isinstance(error, FerflowError):
        raise error  # the tools are broken, not this image
    if isinstance(error, ImportError):
        raise FerflowError(f"this installation of ferflow is incomplete: {error}") from error
    if isinstance(error, MemoryError):
        return TOO_LARGE, "not enough memory to process it"
    # whatever one odd picture brings up in somebody else's code must not cost the others of its shard
    return UNREADABLE, f"processing failed: {type(error).__name__}: {error}"


def _ahead(images: Sequence[ImageRef], config: RunConfig, extractor: FaceExtractor, read: Read) -> DecodePrefetcher:
    """As many pictures wait as are looked at together, so that the next ones are there when these are done."""
    decode = _decoder(config, extractor)
    return DecodePrefetcher(images, config.max_bytes, read, decode, threads=decoders(config.device), waiting=2 * extractor.pictures)


def _decoder(config: RunConfig, extractor: FaceExtractor) -> Callable[[bytes, Callable[[int], None]], Picture]:
    def decoded(data: bytes, admit: Callable[[int], None]) -> Picture:
        from fer_core.decode.decoder import DecodeLimits, decode

        return decode(data, DecodeLimits(max_bytes=config.max_bytes, max_pixels=config.max_pixels), extractor.side, admit)

    return decoded


def _decoded_again(config: RunConfig, data: bytes) -> Picture:
    from fer_core.decode.decoder import DecodeLimits, decode

    return decode(data, DecodeLimits(max_bytes=config.max_bytes, max_pixels=config.max_pixels))


def _facts(seen: Sequence[_Seen], quality: Quality) -> list[ImageFacts]:
    """The rows, each with its own part of what is known of all faces."""
    facts, start = list[ImageFacts](), 0
    for one in seen:
        if isinstance(one, _Extracted):
            end = start + len(one.faces)
            facts.append(one.facts(quality.take(np.arange(start, end))))
            start = end
        else:
            facts.append(one)
    return facts
