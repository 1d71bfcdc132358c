"""The latest verdict on each reviewed face, and which current label it is about."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fer_core.errors import CommitError
from fer_core.review.attach import MOST_FACES, NOWHERE, attach
from fer_core.review.history import history
from fer_core.review.present import boxes_of, present_labels
from fer_core.storage.store import Store
from fer_core.tables.box_overlap import SAME_FACE, iou
from fer_core.tables.schema import LABELS


@dataclass(frozen=True, slots=True)
class ReviewedFaces:
    """N reviewed faces, each once, with its last verdict; by rising image digest and box."""

    image_sha256: tuple[str, ...]
    image_uri: tuple[str, ...]
    """Where the image was when the face was shown."""
    boxes: NDArray[np.float32]
    """(N, 4) x, y, width, height as the face was shown, pixels of the upright image."""
    verdicts: tuple[str, ...]
    """Of `verdicts.VERDICTS`."""
    previous: tuple[str, ...]
    """The expression that the reviewed label named."""
    reviewers: tuple[str, ...]
    reviewed_at_us: NDArray[np.int64]
    """(N,) microseconds since the epoch, UTC."""
    export_ids: tuple[str, ...]
    labels: pa.Table
    """`schema.LABELS`: the current labels of these images, each image once."""
    attached: NDArray[np.intp]
    """(N,) row of `labels` that is about the face, or `NOWHERE`: then it is an orphan."""

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, name)) for name in self.__slots__ if name != "labels"}
        if len(lengths) > 1 or self.boxes.shape != (len(self.verdicts), 4):
            raise ValueError(f"the columns of reviewed faces disagree: {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.verdicts)

    @property
    def orphans(self) -> NDArray[np.intp]:
        """Numbers of the faces that no current label is about."""
        return np.flatnonzero(self.attached == NOWHERE)


def reviewed_faces(store: Store) -> ReviewedFaces:
    """All of a labels root. ReviewError where the history is damaged, CommitError where a part of a run is."""
    rows = latest_reviews(history(store))
    images = tuple(rows["image_sha256"].to_pylist())
    labels = _labels(store, set(images))
    boxes = boxes_of(rows)
    return ReviewedFaces(
        image_sha256=images,
        image_uri=tuple(rows["image_uri"].to_pylist()),
        boxes=boxes,
        verdicts=tuple(rows["verdict"].to_pylist()),
        previous=tuple(rows["previous_expression"].to_pylist()),
        reviewers=tuple(rows["reviewer"].to_pylist()),
        reviewed_at_us=rows["reviewed_at"].cast(pa.int64()).to_numpy(),
        export_ids=tuple(rows["export_id"].to_pylist()),
        labels=labels,
        attached=attach(images, boxes, labels["image_sha256"].to_pylist(), boxes_of(labels)),
    )


def _labels(store: Store, images: set[str]) -> pa.Table:
    if not images:
        return LABELS.empty_table()
    try:
        with present_labels(store) as labels:
            return labels.of_images(images)
    except CommitError:
        if store.list_files("_meta/runs"):
            raise
        return LABELS.empty_table()


class _Faces:
    """The faces of one image, newest first, each with the number of its row."""

    def __init__(self) -> None:
        self.rows = list[int]()
        self._boxes, self._exports = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)

    def add(self, row: int, box: NDArray[np.float32], export: np.int64) -> int:
        """Keep it unless it is one of those that are here. Returns the row that stands for its face, or `NOWHERE` beyond `MOST_FACES`."""
        count = len(self.rows)
        if count == MOST_FACES:
            return NOWHERE
        there, exports = self._boxes[:count], self._exports[:count]
        same = 2 * (there == box).all(axis=1) + ((iou(box[None], there)[0] >= SAME_FACE) & (exports != export))
        if same.any():
            return self.rows[int(same.argmax())]
        if count == len(self._boxes):  # twice the room each time, so that few reviews need little
            self._boxes, self._exports = np.resize(self._boxes, (2 * count + 1, 4)), np.resize(self._exports, 2 * count + 1)
        self._boxes[count], self._exports[count] = box, export
        self.rows.append(row)
        return row


def faces_of(reviews: pa.Table) -> NDArray[np.int64]:
    """(N,) for each review the row of the last review of the same face, or `NOWHERE`. reviews: `record.REVIEWS`, oldest first.

    The same box is the same face. Boxes of different exports are, too, where they overlap by `SAME_FACE`, since the detector may have
    changed in between; within an export they are different faces. Of one image the newest `MOST_FACES` faces count: no detector finds
    more, and each further one would be laid over all others.
    """
    boxes, exports = boxes_of(reviews), reviews["export_id"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    kept: dict[str, _Faces] = {}
    found = np.full(reviews.num_rows, NOWHERE, np.int64)
    for row, image in zip(reversed(range(reviews.num_rows)), reversed(reviews["image_sha256"].to_pylist()), strict=True):
        found[row] = kept.setdefault(image, _Faces()).add(row, boxes[row], exports[row])
    return found


def latest_reviews(reviews: pa.Table) -> pa.Table:
    """The last review of each face (`faces_of`), by image and box. reviews: `record.REVIEWS`, oldest first."""
    numbers = np.flatnonzero(faces_of(reviews) == np.arange(reviews.num_rows))
    order = [(name, "ascending") for name in ("image_sha256", "box_x", "box_y", "box_w", "box_h")]
    return reviews.take(pa.array(numbers, pa.int64())).sort_by(order)


def count_by_verdict(faces: ReviewedFaces) -> dict[str, int]:
    """How often each verdict stands."""
    counted = pc.value_counts(pa.array(faces.verdicts, pa.string())).to_pylist()
    return {entry["values"]: entry["counts"] for entry in sorted(counted, key=lambda entry: str(entry["values"]))}
