"""The reviewed faces that a model learned from: `reviewed-faces.json` in its folder, so that a forgotten face names its models.

Digests and boxes of photographs of a labels root are no part of the card, which is passed on with the model.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from fer_core.errors import ModelError
from fer_core.faceset import read_card, read_rows
from fer_core.json_reader import parse_object
from fer_core.models.card import ModelRef
from fer_core.storage.bounded_file import read_bounded
from fer_core.validation import check_entries

REVIEWED_FACES: Final = "reviewed-faces.json"
MOST_BYTES: Final = 2**28


@dataclass(frozen=True, slots=True)
class ReviewedFaces:
    """Those of one model."""

    faces: tuple[str, ...]
    """`sample_id` of face sets of reviewed faces: digest of the image, and box."""
    roots: tuple[str, ...] = ()
    """Labels roots that they are from."""
    forgotten: int = 0
    """Further ones, which were forgotten since."""


def keep_reviewed_faces(folder: Path, facesets: Iterable[Path], models: Iterable[ModelRef] = ()) -> None:
    """Before the model is written: say in its folder, and in the registry of their labels roots, which reviewed faces it learns from.

    models: those that it starts from or whose answers it learns; what they learned from counts too. Nothing happens without a set of
    reviewed faces that names its root; those of earlier releases do not.
    """
    learned, roots, forgotten = dict[str, None](), dict[str, None](), 0
    for model in models:
        if (model.path / REVIEWED_FACES).exists():
            before = read_reviewed_faces(model.path)
            learned.update(dict.fromkeys(before.faces))
            roots.update(dict.fromkeys(before.roots))
            forgotten = max(forgotten, before.forgotten)
    for faceset in facesets:
        card = read_card(faceset)
        if card.origin:
            roots[card.origin] = None
            learned.update(dict.fromkeys(row["sample_id"] for split in card.counts if split != "test" for row in read_rows(faceset, split)))
    if not roots:
        return
    write_reviewed_faces(folder, ReviewedFaces(tuple(learned), tuple(roots), forgotten))
    from fer_core.outputs.registry import register_derived  # storages are not there on a machine that only trains, nor are such sets

    register_derived(roots, str(folder.absolute()), "model")


def write_reviewed_faces(folder: Path, faces: ReviewedFaces) -> None:
    """Whole or not at all. ModelError where the disk refuses it."""
    file = folder / REVIEWED_FACES
    partial = file.with_name(f"{file.name}.partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({"version": 1, **asdict(faces)}, indent=1) + "\n", encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        raise ModelError(f"cannot write {file} ({error.strerror})") from error


def read_reviewed_faces(folder: Path) -> ReviewedFaces:
    """The inverse; ModelError where the file is damaged or absent."""
    file = folder / REVIEWED_FACES
    try:
        value = parse_object(read_bounded(file, MOST_BYTES), MOST_BYTES)
        if value.pop("version") != 1:
            raise ValueError("another version")
        faces = ReviewedFaces(**{**value, "faces": tuple(value["faces"]), "roots": tuple(value["roots"])})
        check_entries(faces)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"damaged list of reviewed faces: {file}") from error
    return faces
