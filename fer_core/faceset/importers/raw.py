"""Samples of a data set -> a raw face set: the bytes of every picture, in Parquet, not yet decoded."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from fer_core.decode.decoder import DecodeLimits
from fer_core.errors import FaceSetError
from fer_core.faceset import VOTE_COLUMNS, FaceSetCard, Kind, Row
from fer_core.faceset.importers.samples import Sample
from fer_core.faceset.schema import PICTURE_BYTES
from fer_core.faceset.staging import publish, staged
from fer_core.faceset.writer import FaceSetWriter

LIMITS: Final = DecodeLimits(max_bytes=PICTURE_BYTES, max_pixels=50_000_000)
"""Larger pictures are not used for training."""


def import_raw(samples: Iterable[Sample], to: Path, name: str, progress: Callable[[int], None] = lambda done: None) -> FaceSetCard:
    """Write the raw face set `to`, replacing an existing one. progress: called with the number of samples read."""
    with staged(to) as partial:
        return publish(partial, write_raw(samples, partial, name, progress))


def write_raw(samples: Iterable[Sample], folder: Path, name: str, progress: Callable[[int], None]) -> FaceSetCard:
    """Write the splits of a raw face set, and return the card that would make it one. Memory does not grow with the set.

    Nothing is decoded, so duplicates are still there. Files larger than `LIMITS` allows are counted as undecodable and left out.
    """
    kind: Kind = "single"
    done = too_large = 0
    with FaceSetWriter(folder) as writer:
        for sample in samples:
            done += 1
            kind = "single" if sample.votes is None else "votes"
            if len(sample.data) > LIMITS.max_bytes:
                too_large += 1
            else:
                writer.add(_row(sample, name))
            progress(done)
        card = FaceSetCard(name, kind, (), "", {}, 0, 0.0, undecodable=too_large, raw=True)
        if done == too_large:
            raise FaceSetError("no image of the set could be read" if done else "there is no image in the set")
        return writer.finish(card)


def _row(sample: Sample, name: str) -> Row:
    """A row of `faceset.schema.SCHEMA`."""
    return {
        "sample_id": sample.sample_id,
        "source": name,
        "split": sample.split,
        "group": sample.group or None,
        "picture": None,
        "framing": "raw",
        "label": sample.label,
        **dict(zip(VOTE_COLUMNS, sample.votes or [None] * len(VOTE_COLUMNS), strict=True)),
        "crop": sample.data,
    }
