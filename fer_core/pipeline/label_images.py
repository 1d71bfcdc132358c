"""Images -> what is known of each and of its faces. Reading, decoding, looking, predicting and packing overlap.

Pictures are read and decoded ahead (`decode_prefetch`), looked at one by one or some at a time (`face_extractor`), their faces go through
the network many at a time (`batching`), and their crops are packed meanwhile. What is found out about an image depends on nothing but the
image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

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
            found = group.look(images[len(seen) : len(seen) + extractor.pictures])
            for one in found:
                if one.extracted is not None:
                    batch.add(one.extracted)
            seen.extend(one.without_pixels() for one in found)
        on_progress(None)
        answers = batch.results()
    return LabelledImages(_facts(seen, answers.quality), answers)


@dataclass(slots=True)
class _Seen:
    """What is known of an image so far; it stands in the image's row even where a later step fails."""

    ref: ImageRef
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    extracted: ExtractedFaces | None = None
    faces: Faces | None = None
    status: str | None = None
    reason: str | None = None

    def lost(self, error: Exception) -> None:
        """It could not be processed, for this reason. Errors that are no fault of the image are raised."""
        status, reason = _failure_status(error, self.ref)
        self.status, self.reason, self.extracted = status, " ".join(reason.split())[:REASON_LENGTH], None

    def without_pixels(self) -> "_Seen":
        """Its crops are the batch's now."""
        if self.extracted is not None:
            self.faces, self.extracted = self.extracted.faces, None
        return self


class _Group:
    """Pictures that are looked at together."""

    def __init__(
        self, config: RunConfig, extractor: FaceExtractor, ahead: DecodePrefetcher, watch: Stopwatch, on_progress: OnProgress
    ) -> None:
        self._config, self._extractor, self._ahead, self._watch, self._on_progress = config, extractor, ahead, watch, on_progress

    def look(self, images: Sequence[ImageRef]) -> list[_Seen]:
        """What became of each of the first ones: of all, unless they have more than half of the pixels that may be in memory."""
        seen, pictures = list[_Seen](), list[tuple[_Seen, Decoded, Picture]]()
        try:
            for ref in images:
                self._on_progress(ref.uri)
                if pictures and (_pixels(pictures) >= self._ahead.pixels // 2 or self._ahead.is_short(ref)):
                    break
                seen.append(_Seen(ref))
                decoded = self._taken(seen[-1])
                if decoded.picture is not None:
                    pictures.append((seen[-1], decoded, decoded.picture))
            self._together(pictures)
        finally:
            for _, decoded, _ in pictures:
                self._ahead.release(decoded)
        return seen

    def _taken(self, one: _Seen) -> Decoded:
        decoded = self._ahead.take(one.ref)
        self._watch.seconds["read"] += decoded.read_seconds
        self._watch.seconds["decode"] += decoded.decode_seconds
        one.sha256 = decoded.sha256
        if decoded.picture is not None:
            one.width, one.height = decoded.picture.width, decoded.picture.height
        if decoded.error is not None:
            one.lost(decoded.error)
        return decoded

    def _together(self, pictures: Sequence[tuple[_Seen, Decoded, Picture]]) -> None:
        """If looking at all at once fails, each by itself, so that the one that it is due to costs no other."""
        try:
            found = self._extracted([picture for _, _, picture in pictures])
        except Exception as error:  # noqa: BLE001  see `_failure_status`
            if len(pictures) == 1:
                pictures[0][0].lost(error)
                return
            for each in pictures:
                self._on_progress(each[0].ref.uri)
                self._together([each])
            return
        for (one, decoded, picture), extracted in zip(pictures, found, strict=True):
            try:
                again = partial(_decoded_again, self._config, decoded.data)
                one.extracted = refine_full_size(extracted, picture, self._config.min_face_px, again, self._watch)
            except Exception as error:  # noqa: BLE001  see `_failure_status`
                one.lost(error)

    def _extracted(self, pictures: Sequence[Picture]) -> list[ExtractedFaces]:
        if not pictures:
            return []
        smallest = min_detectable_px(pictures, self._config.min_face_px)
        return self._extractor.extract([picture.pixels for picture in pictures], smallest, self._watch)


def _pixels(pictures: Sequence[tuple[_Seen, Decoded, Picture]]) -> int:
    return sum(picture.pixels.shape[0] * picture.pixels.shape[1] for _, _, picture in pictures)


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
    facts, start = [], 0
    for one in seen:
        count = len(one.faces) if one.faces is not None else 0
        status = one.status or (LABELED if count else NO_FACE)
        own = quality.take(np.arange(start, start + count)) if count else None
        facts.append(ImageFacts(one.ref, status, one.reason, one.sha256, one.width, one.height, one.faces, own))
        start += count
    return facts
