"""Label-error candidates as files: a page of `review` with their faces, a table, and all figures."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from fer_core.errors import StoreError
from fer_core.faceset import Row, read_card, read_rows
from fer_core.hashing import json_sha256
from fer_core.labels import EXPRESSIONS
from fer_core.models.card import ModelRef
from fer_core.outputs.registry import register_derived
from fer_core.review.page import write_page
from fer_core.review.set_faces import REVIEWED, shown_face
from fer_core.storage.store import open_store
from fer_core.training.label_audit import AuditRequest, Candidate, LabelAudit

PAGE, TABLE, FIGURES = "review.html", "candidates.csv", "audit.json"
COLUMNS: Final = ("split", "sample_id", "given", "likely", "predicted", "self_confidence", "margin")
CORRECT: Final = "ferflow dataset correct"


def report_json(audit: LabelAudit, model: ModelRef, asked: AuditRequest, top: int) -> dict[str, Any]:
    """The JSON object of an audit with its first `top` candidates."""
    return {
        **{name: value for name, value in asdict(audit).items() if name != "found"},
        "model": {"name": model.name, "digest": model.digest},
        "protocol": asked.protocol,
        "folds": asked.folds,
        "seed": asked.seed,
        "candidates": len(audit.found),
        "shown": [asdict(found) for found in audit.found[:top]],
    }


def check_target(folder: Path) -> None:
    """StoreError: the folder holds anything but an earlier audit."""
    there = set(open_store(str(folder)).list_files())
    if there and (FIGURES not in there or not there <= {PAGE, TABLE, FIGURES}):
        raise StoreError(f"{folder} is neither empty nor an earlier audit: choose another place")


def write_audit(folder: Path, audit: LabelAudit, model: ModelRef, report: dict[str, Any], to: Path) -> tuple[str, ...]:
    """Write page, table and figures of the candidates that `report` shows to `to`, replacing an earlier audit; returns the files.

    Equal labels, probabilities and faces give equal files.
    """
    check_target(to)
    target, found, origin = open_store(str(to)), audit.found[: len(report["shown"])], read_card(folder).origin
    if origin:
        register_derived([origin], target.url(), "audit")
    target.write_bytes(FIGURES, (json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    target.write_bytes(TABLE, _table(found).encode())
    rows = _rows(folder, found)
    shown = [
        shown_face(rows[face.split, face.row], face.given, face.probabilities, (model.name, model.digest), _reason(face)) for face in found
    ]
    unique = list({(face.image_sha256, face.box): face for face in reversed(shown)}.values())[::-1]  # copies are one question
    export_id = json_sha256({"faceset": audit.digest, "asked": [[face.image_sha256, *face.box] for face in unique]})[:16]
    reviewed = bool(rows) and all(row["source"] == REVIEWED for row in rows.values())
    if unique:
        target.write_bytes(PAGE, write_page([asdict(face) for face in unique], export_id, _note(reviewed), command=CORRECT).encode())
    else:
        (to / PAGE).unlink(missing_ok=True)  # an earlier audit's
    return tuple(target.url(name) for name in (PAGE, TABLE, FIGURES) if unique or name != PAGE)


def _rows(folder: Path, found: Sequence[Candidate]) -> dict[tuple[str, int], Row]:
    """The faces by split and number; one pass over each split."""
    wanted = defaultdict[str, set[int]](set)
    for face in found:
        wanted[face.split].add(face.row)
    return {
        (split, number): row
        for split, numbers in wanted.items()
        for number, row in enumerate(read_rows(folder, split))
        if number in numbers
    }


def _reason(face: Candidate) -> str:
    likely = face.probabilities[EXPRESSIONS.index(face.likely)]
    return f"labelled {face.given} ({face.self_confidence:.0%}), likely {face.likely} ({likely:.0%})"


def _note(reviewed: bool) -> str:
    after = "`ferflow dataset correct FACESET FILE --to NEW` makes a corrected face set of the saved answers"
    more = "; `ferflow review import FILE --to ROOT` corrects the reviews of the labels root" if reviewed else ""
    return f"Labels of a face set that are probably wrong. {after}{more}."


def _table(found: Sequence[Candidate]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for face in found:
        figures = f"{face.self_confidence:.4f}", f"{face.margin:.4f}"
        writer.writerow((face.split, face.sample_id, face.given, face.likely, face.predicted, *figures))
    return out.getvalue()
