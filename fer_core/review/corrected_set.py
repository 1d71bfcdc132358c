"""A face set with a reviewer's corrections: a new set, the old one stays as it is."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fer_core.errors import FaceSetError, ReviewError
from fer_core.faceset import UNANIMOUS, VOTE_COLUMNS, FaceSetCard, Row, read_card, read_rows
from fer_core.faceset.staging import publish, staged
from fer_core.faceset.writer import FaceSetWriter, expression_of
from fer_core.labels import EXPRESSIONS
from fer_core.outputs.registry import register_derived
from fer_core.review.corrections import LARGEST, read_corrections
from fer_core.review.set_faces import Box, face_key
from fer_core.review.verdicts import NOT_A_FACE, UNSURE
from fer_core.storage.bounded_file import read_bounded


@dataclass(frozen=True, slots=True)
class CorrectedSet:
    """What became of the corrections."""

    card: FaceSetCard
    changed: int
    """Faces with another label than before."""
    confirmed: int
    """Faces whose label the reviewer repeated."""
    removed: int
    """Left out: not a face."""
    undecided: int
    """Kept as they are: the reviewer cannot tell."""
    absent: int
    """Corrections of faces that the set does not have."""


def correct_faceset(folder: Path, file: Path, to: Path) -> CorrectedSet:
    """Write the face set `to`: `folder` with the answers of a corrections file, which the page of an audit saved.

    A label is replaced; votes are, too, by unanimous ones. Copies of a corrected crop are corrected alike. FaceSetError: a raw set, or `to`
    is `folder`, or no face is left; ReviewError: an invalid file, or one that is about no face of the set.
    """
    card = read_card(folder)
    if card.raw:
        raise FaceSetError(f"a raw face set has no aligned faces to correct: {folder}")
    if to.resolve() == folder.resolve():
        raise FaceSetError(f"the corrected set is a new one, not {folder} itself")
    if card.origin:
        register_derived([card.origin], str(to.absolute()), "faceset")
    verdicts = {(row.image_sha256, row.box): row.verdict for row in read_corrections(_bytes(file), file.name)}
    with staged(to) as partial:
        outcomes, seen = Counter[str](), set[tuple[str, Box]]()
        with FaceSetWriter(partial) as writer:
            for row in (row for split in card.counts for row in _corrected(folder, split, verdicts, outcomes, seen)):
                writer.add(row)
            if not seen:
                raise ReviewError(f"{file.name} is about none of the faces of {folder}")
            made = writer.finish(card)
            if not made.counts:
                raise FaceSetError(f"no face of {folder} would be left")
        publish(partial, made)
    return CorrectedSet(
        made, outcomes["changed"], outcomes["confirmed"], outcomes[NOT_A_FACE], outcomes[UNSURE], len(verdicts.keys() - seen)
    )


def _corrected(
    folder: Path, split: str, verdicts: Mapping[tuple[str, Box], str], outcomes: Counter[str], seen: set[tuple[str, Box]]
) -> Iterator[Row]:
    """The rows of a split after the corrections."""
    for row in read_rows(folder, split):
        key = face_key(row)
        verdict = verdicts.get(key)
        if verdict is None:
            yield row
            continue
        seen.add(key)
        if verdict not in EXPRESSIONS:
            outcomes[verdict] += 1
        else:
            outcomes["confirmed" if verdict == expression_of(row) else "changed"] += 1
        if verdict in EXPRESSIONS and verdict != expression_of(row):
            yield _relabelled(row, verdict)
        elif verdict != NOT_A_FACE:
            yield row


def _relabelled(row: Row, expression: str) -> Row:
    if row["label"] is not None:
        return {**row, "label": expression}
    return {**row, **dict.fromkeys(VOTE_COLUMNS, 0), f"votes_{expression}": UNANIMOUS}


def _bytes(file: Path) -> bytes:
    try:
        return read_bounded(file, LARGEST)
    except ValueError as error:
        raise ReviewError(f"{file.name} is too large: it has {error}") from error
    except OSError as error:
        raise ReviewError(f"cannot read {file} ({str(error.strerror).lower()})") from error
