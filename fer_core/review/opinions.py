"""Labels of the same faces by other pipelines: where a face was labelled by several models, or framed by several detectors."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fer_core.commit.part_reader import read_part
from fer_core.commit.publish import committed_runs, read_manifest
from fer_core.labels import EXPRESSIONS
from fer_core.review.candidates import Candidates, probabilities_of
from fer_core.review.present import boxes_of
from fer_core.storage.store import Store
from fer_core.tables.box_overlap import SAME_FACE
from fer_core.tables.schema import LABELS

_NAMES: Final = ("image_sha256", *(f"box_{name}" for name in "xywh"), *(f"p_{name}" for name in EXPRESSIONS))
_READ: Final = pa.schema([LABELS.field(name) for name in _NAMES])
PAIRS_AT_ONCE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Disagreement:
    """How other pipelines' labels differ from the current ones of N faces."""

    distance: NDArray[np.float64]
    """(N,) in [0, 1]: largest total variation distance to an opinion that names another expression; 0 where there is none."""
    other: NDArray[np.int64]
    """(N,) the expression that this opinion names, -1 where there is none."""


def disagreement(store: Store, faces: Candidates) -> Disagreement:
    """Look up every committed label of the same images under another pipeline. A face is the same where boxes overlap by `SAME_FACE`.

    The labels of a run whose pipeline is the current one of all faces are not read. CommitError when a part is missing or damaged.
    """
    distance, other = np.zeros(len(faces)), np.full(len(faces), -1, np.int64)
    codes = {digest: code for code, digest in enumerate(faces.pipelines.to_pylist())}
    for run_id in committed_runs(store):
        manifest = read_manifest(store, run_id)
        others = np.flatnonzero(faces.pipeline != codes.get(manifest.pipeline_digest, -1))
        if not len(others):
            continue
        for part in manifest.parts_of("labels"):
            rows = read_part(store, part, _READ, run_id)
            _compare(faces.take(others), rows, others, distance, other)
    return Disagreement(distance, other)


def _compare(faces: Candidates, rows: pa.Table, numbers: NDArray[np.intp], distance: NDArray[np.float64], other: NDArray[np.int64]) -> None:
    """Let the opinions in `rows` count. numbers: where `faces` stand in `distance` and `other`."""
    image = pc.index_in(rows["image_sha256"], value_set=faces.digests)
    known = np.flatnonzero(image.is_valid().to_numpy())
    if not len(known):
        return
    rows, images = rows.take(pa.array(known)), image.take(pa.array(known)).to_numpy()
    boxes, probabilities = boxes_of(rows), probabilities_of(rows)
    by_image = np.argsort(faces.image, kind="stable")
    sorted_images = faces.image[by_image]
    first, last = np.searchsorted(sorted_images, images, "left"), np.searchsorted(sorted_images, images, "right")
    step = max(1, PAIRS_AT_ONCE // max(1, int((last - first).max())))
    for start in range(0, len(images), step):
        part = slice(start, start + step)
        count = last[part] - first[part]
        opinion = np.repeat(np.arange(len(images))[part], count)
        offset = np.arange(len(opinion)) - np.repeat(np.cumsum(count) - count, count)
        face = by_image[np.repeat(first[part], count) + offset]
        same = _overlaps(faces.boxes[face], boxes[opinion]) >= SAME_FACE
        face, opinion = face[same], opinion[same]
        mine, theirs = faces.probabilities[face], probabilities[opinion]
        far = np.where(mine.argmax(1) != theirs.argmax(1), np.abs(mine - theirs).sum(1) / 2, 0)
        for row in np.lexsort((theirs.argmax(1), -far)).tolist():
            if far[row] > distance[numbers[face[row]]]:
                distance[numbers[face[row]]], other[numbers[face[row]]] = far[row], theirs[row].argmax()


def _overlaps(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """(P, 4) and (P, 4), pair by pair -> (P,)."""
    one, two = a.astype(np.float64), b.astype(np.float64)
    sides = np.minimum(one[:, :2] + one[:, 2:], two[:, :2] + two[:, 2:]) - np.maximum(one[:, :2], two[:, :2])
    shared = np.prod(np.maximum(sides, 0), axis=1)
    return np.asarray(shared / np.maximum(np.prod(one[:, 2:], axis=1) + np.prod(two[:, 2:], axis=1) - shared, 1e-12), np.float64)
