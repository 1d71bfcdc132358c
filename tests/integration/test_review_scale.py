"""Very many reviews of one image: what they cost grows with their number, and no file may bring more than an image can hold."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fer_core.errors import ReviewError
from fer_core.review.attach import MOST_FACES, NOWHERE, attach
from fer_core.review.corrections import read_corrections
from fer_core.review.record import REVIEWS
from fer_core.review.reviewed import latest_reviews
from tests.support import reviews

REPOSITORY = Path(__file__).resolve().parents[2]


def kept(count: int, seed: int = 0, exports: int = 1, spread: float = 4000.0) -> pa.Table:
    """Reviews of one image, oldest first."""
    rng = np.random.default_rng(seed)
    columns = {
        "image_sha256": ["a" * 64] * count,
        "image_uri": ["/photo.jpg"] * count,
        **{f"box_{name}": rng.uniform(0, spread, count).astype(np.float32) for name in "xy"},
        **{f"box_{name}": rng.uniform(20, 60, count).astype(np.float32) for name in "wh"},
        "verdict": ["fear"] * count,
        "previous_expression": ["anger"] * count,
        "previous_model": ["b" * 64] * count,
        "reviewer": ["Anna"] * count,
        "reviewed_at": np.arange(count),
        "imported_at": np.arange(count),
        "export_id": [f"{number:016x}" for number in rng.integers(0, exports, count)],
        "source_sha256": ["c" * 64] * count,
    }
    return pa.Table.from_arrays([pa.array(columns[field.name], field.type) for field in REVIEWS], schema=REVIEWS)


def one_by_one(rows: pa.Table) -> list[int]:
    """What `latest_reviews` keeps, said plainly."""
    boxes = np.stack([rows[f"box_{name}"].to_numpy() for name in "xywh"], axis=1).astype(np.float64)
    exports, found = rows["export_id"].to_pylist(), list[int]()

    def share(a: np.ndarray, b: np.ndarray) -> float:
        low, high = np.maximum(a[:2], b[:2]), np.minimum(a[:2] + a[2:], b[:2] + b[2:])
        shared = np.prod(np.maximum(high - low, 0))
        return float(shared / (np.prod(a[2:]) + np.prod(b[2:]) - shared))

    for row in reversed(range(len(boxes))):
        same = (np.array_equal(boxes[row], boxes[other]) for other in found)
        near = (share(boxes[row], boxes[other]) >= 0.5 and exports[row] != exports[other] for other in found)
        if not any(same) and not any(near):
            found.append(row)
    return sorted(found)


@pytest.mark.parametrize(("exports", "spread"), [(1, 300.0), (2, 150.0), (5, 80.0)])
def test_the_newest_of_each_face_stands(exports: int, spread: float) -> None:
    rows = kept(120, exports, exports, spread)
    rows = pa.concat_tables([rows, rows.slice(0, 30)])  # the same boxes again
    assert sorted(latest_reviews(rows)["reviewed_at"].cast(pa.int64()).to_pylist()) == sorted(
        rows["reviewed_at"].cast(pa.int64()).take(pa.array(one_by_one(rows))).to_pylist()
    )


def test_of_one_image_the_newest_count() -> None:
    rows = kept(MOST_FACES + 500)
    assert latest_reviews(rows)["reviewed_at"].cast(pa.int64()).to_numpy().min() == 500
    assert latest_reviews(rows).num_rows == MOST_FACES


_COST = """
import sys, time
sys.path[:0] = ["."]
from tests.integration.test_review_scale import kept
from fer_core.review.reviewed import latest_reviews
from fer_core.review.attach import attach
from fer_core.review.present import boxes_of
times = []
for count in (2500, 10000):
    rows = kept(count)
    started = time.process_time()
    found = latest_reviews(rows)
    boxes, images = boxes_of(found), found["image_sha256"].to_pylist()
    attach(images, boxes, images, boxes)
    times.append(time.process_time() - started)
print(*times)
"""


def test_four_times_the_reviews_take_four_times_as_long() -> None:
    """In a process of its own: reviews by the thousand took the square, 250 s for 8,000."""
    done = subprocess.run([sys.executable, "-c", _COST], cwd=REPOSITORY, capture_output=True, text=True, timeout=200, check=True)
    few, many = map(float, done.stdout.split())
    assert many < 8 * few, (few, many)


def test_a_file_of_more_faces_than_an_image_can_have() -> None:
    row = {
        "image_sha256": "a" * 64,
        "image_uri": "/p",
        "expression": "anger",
        "model_digest": "b" * 64,
        "box_y": 0.0,
        "box_w": 9.0,
        "box_h": 9.0,
    }
    entries = [reviews.correction({**row, "box_x": float(number)}, "fear") for number in range(MOST_FACES + 1)]
    assert len(read_corrections(json.dumps(reviews.corrections(entries[1:])).encode(), "file")) == MOST_FACES
    with pytest.raises(ReviewError, match="file holds reviews of 2,001 faces of the image aaaaaaaaaaaa, more than 2,000"):
        read_corrections(json.dumps(reviews.corrections(entries)).encode(), "file")


def test_pairs_are_laid_over_one_another_some_at_a_time() -> None:
    boxes = np.array([[number % 60 * 100, number // 60 * 100, 90, 90] for number in range(2000)], np.float32)
    moved = boxes + np.array([5, 0, 0, 0], np.float32)
    images = ["a"] * len(boxes)
    assert attach(images, moved, images, boxes).tolist() == list(range(2000))
    away = moved + np.array([50_000, 0, 0, 0], np.float32)
    assert set(attach(images, away, images, boxes).tolist()) == {NOWHERE}
