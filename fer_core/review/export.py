"""Faces that are worth a minute go out: a page that works from disk, and the same as tasks for Label Studio.

Faces are biometric data: they are written on request only, and never under a labels root.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_core.commit.reader import purposes_of
from fer_core.errors import StoreError, UsageError
from fer_core.gallery.templates import data_uri
from fer_core.hashing import json_sha256
from fer_core.labels import EXPRESSIONS
from fer_core.outputs.registry import register_output
from fer_core.review import label_studio
from fer_core.review.attach import NOWHERE, attach
from fer_core.review.candidates import Candidates
from fer_core.review.choice import TERMS, Policy, by_priority, review_priority, shuffled, spread
from fer_core.review.history import history
from fer_core.review.opinions import disagreement
from fer_core.review.page import write_page
from fer_core.review.pictures import crop_key, cut, kept_crops, photograph
from fer_core.review.present import PresentLabels, boxes_of, present_labels
from fer_core.review.reviewed import latest_reviews
from fer_core.review.shown import ShownFace
from fer_core.review.slices import drifted
from fer_core.storage.output_place import refuse_inside
from fer_core.storage.store import Store

PAGE, TASKS, CONFIGURATION = "review.html", "tasks.json", "label-studio.xml"
MOST: Final = 5000
"""Faces of one export: the page holds some 40 KB of each."""
USEFUL: Final = 200
"""Labels from which on tuning a head gains little (docs/guides/retraining.md)."""
TRIES: Final = 4
"""Times the budget: so many faces are tried at most where photographs are gone."""
READERS: Final = 4

DriftWeights = Callable[[Candidates], NDArray[np.float64]]
"""(N,) in [0, 1] for N faces: how much the slice of each has drifted. `slices.drifted` by default."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What is wanted. UsageError for a budget that makes no sense."""

    budget: int = 100
    """Most faces to export, from 1 to `MOST`."""
    policy: Policy = "worth"
    seed: int = 0
    """Of the random policy."""
    model: str | None = None
    """Digest of a model, or how it begins: only its labels are exported. None: all."""

    def __post_init__(self) -> None:
        if not 1 <= self.budget <= MOST:
            raise UsageError(f"the budget is a number of faces from 1 to {MOST:,}: {self.budget}")


@dataclass(frozen=True, slots=True)
class ReviewExport:
    """What was written."""

    export_id: str
    """Identifies this selection; empty where there was nothing to review."""
    files: tuple[str, ...]
    asked: int
    """Faces on the page."""
    faces: int
    """Current labels that could have been exported: each face once, those reviewed left out."""
    reviewed: int
    """Current labels that were reviewed before."""
    gone: int
    """Faces that were passed over since neither their photograph nor a crop of them is there."""
    reasons: dict[str, int]
    """Faces by the strongest reason for asking them."""


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Faces in the order of asking."""

    faces: Candidates
    order: NDArray[np.intp]
    reasons: Callable[[int], tuple[str, ...]]
    """By number of a face."""


def export_review(
    store: Store,
    target: Store,
    asked: ExportRequest | None = None,
    drift: DriftWeights = drifted,
    on_read: Callable[[int, int], None] = lambda done, total: None,
) -> ReviewExport:
    """Choose faces by `choice` and write page, tasks and configuration to `target`, replacing an earlier export.

    Equal labels, reviews and pictures give equal files. Nothing is written where no face is left. UsageError when the target lies
    inside the root; StoreError when it holds anything but an earlier export; CommitError when a part is missing or damaged.
    on_read: called with the number of photographs read and of all to read; again from 1 where some are gone.
    """
    wanted = asked or ExportRequest()
    _check_target(store, target)
    with present_labels(store) as labels:
        everything = Candidates.of(labels, wanted.model)
        open_faces = everything.take(_not_reviewed(store, everything))
        ranked = _ranked(store, open_faces, wanted, drift)
        shown, gone = _shown(store, labels, ranked, wanted.budget, on_read)
    reviewed = len(everything) - len(open_faces)
    if not shown:
        return ReviewExport("", (), 0, len(open_faces), reviewed, gone, {})
    export_id = _export_id(store, shown)
    register_output(store, target.url(), "review")
    _write(target, shown, export_id, tuning_note(reviewed) if wanted.policy == "tuning" else "", purposes_of(store))
    files = tuple(target.url(name) for name in (PAGE, TASKS, CONFIGURATION))
    reasons = Counter(face.reasons[0].partition(":")[0] for face in shown)
    return ReviewExport(export_id, files, len(shown), len(open_faces), reviewed, gone, dict(sorted(reasons.items())))


def _check_target(store: Store, target: Store) -> None:
    refuse_inside(target, store, f"the target {target.url()} lies")
    found = target.list_files()
    if found == [""]:
        raise StoreError(f"{target.url()} is a file, not a folder")
    if found and (PAGE not in found or not set(found) <= {PAGE, TASKS, CONFIGURATION}):
        raise StoreError(f"{target.url()} is neither empty nor an earlier export: choose another place")


def _not_reviewed(store: Store, faces: Candidates) -> NDArray[np.intp]:
    """Numbers of the faces without a review."""
    reviews = latest_reviews(history(store))
    reviewed = set(reviews["image_sha256"].to_pylist())
    near = np.flatnonzero(np.isin(faces.image, [code for code, digest in enumerate(faces.digests.to_pylist()) if digest in reviewed]))
    some = faces.take(near)
    found = attach(reviews["image_sha256"].to_pylist(), boxes_of(reviews), some.images(), some.boxes)
    return np.setdiff1d(np.arange(len(faces)), near[found[found != NOWHERE]])


def _by_worth(store: Store, faces: Candidates, drift: DriftWeights) -> _Ranked:
    differ = disagreement(store, faces)
    value = review_priority(faces, differ.distance, drift(faces))

    def reasons(face: int) -> tuple[str, ...]:
        parts = value.terms[face]
        strongest = [int(term) for term in np.argsort(-parts, kind="stable") if parts[term] >= 0.25 * max(parts.sum(), 1e-12)]
        return tuple(_reason(TERMS[term], EXPRESSIONS[differ.other[face]]) for term in strongest or [0])

    return _Ranked(faces, by_priority(faces, value.total), reasons)


def _reason(term: str, other: str) -> str:
    texts = {
        "doubt": "low confidence",
        "disagreement": f"models disagree: another predicts {other}",
        "rarity": "may be a rare expression",
        "drift": "the confidence of similar faces has dropped",
    }
    return texts[term]


def tuning_note(reviewed: int) -> str:
    """How many faces tuning a head takes, where so many were reviewed before."""
    takes = "Tuning a model to a collection (--tune head) takes at least 20 faces of two expressions; up to about 200 help."
    more = max(USEFUL - reviewed, 0)
    return f"{takes} {reviewed:,} were reviewed before: " + (f"{more:,} more would help." if more else "more help little.")


def _ranked(store: Store, faces: Candidates, wanted: ExportRequest, drift: DriftWeights) -> _Ranked:
    if wanted.policy == "random":
        return _random(faces, wanted.seed)
    if wanted.policy == "tuning":
        return _Ranked(faces, spread(faces), lambda face: ("for tuning: all expressions and confidences",))
    return _by_worth(store, faces, drift)


def _random(faces: Candidates, seed: int) -> _Ranked:
    return _Ranked(faces, shuffled(faces, seed), lambda face: ("drawn at random",))


def _shown(
    store: Store, labels: PresentLabels, ranked: _Ranked, budget: int, on_read: Callable[[int, int], None]
) -> tuple[list[ShownFace], int]:
    """The first faces of which there is a picture, and how many had none on the way."""
    shown: list[ShownFace] = []
    gone = start = 0
    while len(shown) < budget and start < min(len(ranked.order), TRIES * budget):
        numbers = ranked.order[start : start + budget - len(shown)]
        start += len(numbers)
        rows, reasons = labels.rows(ranked.faces.rows[numbers]), [ranked.reasons(int(number)) for number in numbers]
        for face in _pictured(store, rows, reasons, on_read):
            if face is None:
                gone += 1
            else:
                shown.append(face)
    return shown, gone


def _pictured(
    store: Store, rows: pa.Table, reasons: list[tuple[str, ...]], on_read: Callable[[int, int], None]
) -> Iterator[ShownFace | None]:
    """Faces in the order of the rows; None where there is no picture."""
    faces = rows.to_pylist()
    with ThreadPoolExecutor(READERS) as pool:
        cuts = []
        for found in pool.map(_cut, faces):
            cuts.append(found)
            on_read(len(cuts), len(faces))
    without = [number for number, found in enumerate(cuts) if found is None]
    crops = kept_crops(store, rows.take(pa.array(without, pa.int64()))) if without else {}
    for row, found, why in zip(faces, cuts, reasons, strict=True):
        crop = crops.get(crop_key(row))
        if found is not None:
            yield _face(row, why, *found)
        else:
            yield None if crop is None else _face(row, why, data_uri(crop, "png"), None)


def _cut(row: dict[str, Any]) -> tuple[str, tuple[float, float, float, float]] | None:
    pixels = photograph(row)
    if pixels is None:
        return None
    found = cut(pixels, _box(row))
    return found.picture, found.frame


def _face(row: dict[str, Any], reasons: tuple[str, ...], picture: str, frame: tuple[float, float, float, float] | None) -> ShownFace:
    return ShownFace(
        image_sha256=row["image_sha256"],
        image_uri=row["image_uri"],
        box=_box(row),
        expression=row["expression"],
        confidence=row["confidence"],
        probabilities=tuple(row[f"p_{name}"] for name in EXPRESSIONS),
        model_name=row["model_name"],
        model_digest=row["model_digest"],
        reasons=reasons,
        picture=picture,
        frame=frame,
    )


def _box(row: dict[str, Any]) -> tuple[float, float, float, float]:
    return row["box_x"], row["box_y"], row["box_w"], row["box_h"]


def _export_id(store: Store, shown: list[ShownFace]) -> str:
    selection = [[face.image_sha256, *face.box, face.expression, face.model_digest] for face in shown]
    return json_sha256({"root": store.url(), "asked": selection})[:16]


def _write(target: Store, shown: list[ShownFace], export_id: str, note: str, purposes: Sequence[str]) -> None:
    target.write_bytes(CONFIGURATION, label_studio.configuration().encode())
    tasks = json.dumps(label_studio.tasks(shown, export_id), indent=1, ensure_ascii=False, allow_nan=False)
    target.write_bytes(TASKS, tasks.encode(errors="backslashreplace"))  # what is no UTF-8 becomes an escape of JSON
    target.write_bytes(PAGE, write_page([asdict(face) for face in shown], export_id, note, purposes).encode(errors="backslashreplace"))
