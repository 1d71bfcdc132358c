"""The card that makes a folder a face set."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from fer_core.errors import FaceSetError
from fer_core.faceset.schema import SPLITS, Kind, split_file
from fer_core.hashing import file_sha256, json_sha256
from fer_core.json_reader import parse_object
from fer_core.labels import EXPRESSIONS
from fer_core.storage.bounded_file import read_bounded
from fer_core.validation import check_entries

CARD: Final = "faceset.json"
MOST_CARD: Final = 2**20
"""Bytes of a card."""


@dataclass(frozen=True, slots=True)
class FaceSetCard:
    """Description and origin of a face set. Fields with a default are absent from older cards."""

    name: str
    kind: Kind
    """`votes` where several raters voted on each face, `single` where each face has one label."""
    classes: tuple[str, ...]
    """Expressions that occur in this kind of set, in the order of `labels.EXPRESSIONS`."""
    detector: str
    """Identity of the detector that framed the faces; empty for a raw set."""
    counts: dict[str, int]
    """Faces by split, after removals."""
    duplicates_removed: int
    """Training faces left out because the very same picture is in another split."""
    framed_by_points: float
    """Share of faces framed by detector and aligner; the others have the average framing of the set."""
    undecodable: int = 0
    """Faces left out because their picture could not be decoded."""
    raw: bool = False
    """Whether the faces are original files, not yet aligned: `prepare` makes a set for training from it."""
    straddling_removed: int = 0
    """Training faces left out, beside the duplicates, because their identity is in another split."""
    per_class: dict[str, dict[str, int]] = field(default_factory=dict)
    """Split -> expression -> faces: by label or by most votes, ties to the first; faces without a vote for an expression are in none."""
    digests: dict[str, str] = field(default_factory=dict)
    """Split -> SHA-256 of its file."""
    purposes: tuple[str, ...] = ()
    """Of reviewed faces: what the runs that labelled them were for, as far as they say so."""
    origin: str = ""
    """Of reviewed faces: the labels root. It stays in the face set, in no card of a model."""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """What `write_card` wrote; anything else is a ValueError, TypeError or KeyError."""
        card = cls(**{**value, "classes": tuple(value["classes"]), "purposes": tuple(value.get("purposes", ()))})
        check_entries(card)
        if not set(card.classes) <= set(EXPRESSIONS):
            raise ValueError("unknown classes")
        if not {*card.counts, *card.per_class, *card.digests} <= set(SPLITS) or min(card.counts.values(), default=0) < 0:
            raise ValueError("unknown splits, or negative counts")
        return card


def card_text(card: FaceSetCard) -> str:
    """The content of the card's file. Entries that only sets of reviewed faces have are left out of others."""
    value = asdict(card)
    return json.dumps({name: value[name] for name in value if value[name] or name not in {"purposes", "origin"}}, indent=2) + "\n"


def card_for_model(card: FaceSetCard) -> dict[str, Any]:
    """What the card of a model says of a set that it learned from."""
    value = asdict(card)
    return {name: value[name] for name in value if name != "origin" and (value[name] or name != "purposes")}


def write_card(folder: Path, card: FaceSetCard) -> None:
    """Write the card last: a folder without it is not a face set."""
    (folder / CARD).write_text(card_text(card), encoding="utf-8")


def read_card(folder: Path) -> FaceSetCard:
    """The card of a face set, or a FaceSetError."""
    return _read(folder)[0]


def faceset_digest(folder: Path) -> str:
    """SHA-256 that identifies this face set: of its card, which has the digest of each split's file.

    The files are not read, but for those whose digest an older card lacks.
    """
    card, written = _read(folder)
    digests = {split: card.digests.get(split) or _file_digest(folder, split) for split in card.counts}
    return json_sha256({**written, "digests": digests})  # as written, so that a field the card gets later changes nothing


def _read(folder: Path) -> tuple[FaceSetCard, dict[str, Any]]:
    """The card, and its JSON object as it is in the file."""
    file = folder / CARD
    if not file.is_file():
        raise FaceSetError(f"not a face set (no {CARD}): {folder}")
    try:
        written = parse_object(read_bounded(file, MOST_CARD), MOST_CARD)
        return FaceSetCard.from_json(written), written
    except (ValueError, TypeError, KeyError) as error:
        raise FaceSetError(f"damaged card: {file}") from error
    except OSError as error:
        raise FaceSetError(f"cannot read {file} ({error.strerror})") from error


def _file_digest(folder: Path, split: str) -> str:
    try:
        return file_sha256(split_file(folder, split))
    except OSError as error:
        raise FaceSetError(f"cannot read {split_file(folder, split)} ({error.strerror})") from error
