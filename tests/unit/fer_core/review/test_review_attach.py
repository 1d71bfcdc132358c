"""A box of yesterday finds its face of today: one-to-one, by overlap, or not at all."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.review.attach import NOWHERE, SAME_FACE, attach, iou
from fer_core.review.record import REVIEWS
from fer_core.review.reviewed import latest_reviews

_NUMBERS = st.integers(0, 60)
_BOXES = st.tuples(_NUMBERS, _NUMBERS, st.integers(1, 60), st.integers(1, 60))
_FACES = st.lists(st.tuples(st.sampled_from("abc"), _BOXES), max_size=9)


def columns(faces):
    return [image for image, _ in faces], np.array([box for _, box in faces], np.float32).reshape(-1, 4)


@given(_BOXES, _BOXES)
def test_overlap_is_what_counting_pixels_says(one, other):
    a, b = (np.zeros((130, 130), bool) for _ in range(2))
    for grid, (x, y, w, h) in ((a, one), (b, other)):
        grid[y : y + h, x : x + w] = True
    counted = (a & b).sum() / (a | b).sum()
    assert iou(np.array([one], np.float32), np.array([other], np.float32))[0, 0] == pytest.approx(counted)


@given(_FACES, _FACES)
@settings(deadline=None, max_examples=40)
def test_no_face_is_meant_twice_and_each_pair_overlaps_in_one_image(asked, there):
    images, boxes = columns(asked)
    there_images, there_boxes = columns(there)
    found = attach(images, boxes, there_images, there_boxes)
    meant = found[found != NOWHERE]
    assert len(set(meant.tolist())) == len(meant)
    for row, face in enumerate(found.tolist()):
        if face != NOWHERE:
            assert images[row] == there_images[face]
            assert iou(boxes[row : row + 1], there_boxes[face : face + 1])[0, 0] >= SAME_FACE


@given(_FACES, _FACES)
@settings(deadline=None, max_examples=40)
def test_who_is_left_out_had_only_faces_that_others_fit_as_well(asked, there):
    images, boxes = columns(asked)
    there_images, there_boxes = columns(there)
    found = attach(images, boxes, there_images, there_boxes)
    taken = {face: row for row, face in enumerate(found.tolist()) if face != NOWHERE}
    shares = iou(boxes, there_boxes)
    for row in np.flatnonzero(found == NOWHERE).tolist():
        for face in range(len(there)):
            if images[row] == there_images[face] and shares[row, face] >= SAME_FACE:
                assert shares[taken[face], face] >= shares[row, face]


@given(st.lists(st.tuples(st.sampled_from("abc"), _BOXES), max_size=9, unique=True), st.randoms())
@settings(deadline=None, max_examples=40)
def test_the_same_boxes_in_any_order_are_found_again(faces, random):
    shuffled = list(faces)
    random.shuffle(shuffled)
    found = attach(*columns(faces), *columns(shuffled))
    assert [shuffled[face] for face in found] == faces


def test_the_better_of_two_boxes_gets_the_face_and_the_other_none():
    asked = np.array([[0, 0, 10, 7], [0, 0, 10, 9]], np.float32)
    assert attach(["a", "a"], asked, ["a"], np.array([[0, 0, 10, 10]], np.float32)).tolist() == [NOWHERE, 0]


def test_half_is_enough_and_less_is_not():
    there = np.array([[0, 0, 10, 10]], np.float32)
    assert attach(["a"], np.array([[0, 0, 10, 5]], np.float32), ["a"], there).tolist() == [0]
    assert attach(["a"], np.array([[0, 0, 10, 4.9]], np.float32), ["a"], there).tolist() == [NOWHERE]
    assert attach(["b"], there, ["a"], there).tolist() == [NOWHERE]


def review(box, verdict, day, export="e1", image="a"):
    moment = datetime(2026, 2, day, tzinfo=UTC)
    values = {
        **dict.fromkeys(REVIEWS.names, "x"),
        **{f"box_{name}": float(value) for name, value in zip("xywh", box, strict=True)},
        "image_sha256": image,
        "verdict": verdict,
        "export_id": export,
        "reviewed_at": moment,
        "imported_at": moment,
    }
    return values


def said(*reviews):
    ordered = sorted(reviews, key=lambda row: row["reviewed_at"])
    return [(row["image_sha256"], row["verdict"]) for row in latest_reviews(pa.Table.from_pylist(ordered, REVIEWS)).to_pylist()]


def test_what_was_said_last_stands():
    box, moved = (0, 0, 20, 20), (2, 2, 20, 20)
    assert said(review(box, "fear", 2), review(box, "anger", 1)) == [("a", "fear")]
    assert said(review(box, "fear", 1), review(moved, "anger", 2, "e2")) == [("a", "anger")]
    assert said(review(box, "fear", 1), review(box, "anger", 2, image="b")) == [("a", "fear"), ("b", "anger")]


def test_faces_of_one_export_are_different_however_they_overlap():
    assert said(review((0, 0, 20, 20), "fear", 1), review((2, 2, 20, 20), "anger", 2)) == [("a", "fear"), ("a", "anger")]


@given(st.lists(st.tuples(_BOXES, st.sampled_from(["fear", "anger"]), st.integers(1, 5), st.sampled_from(["e1", "e2"])), max_size=8))
@settings(deadline=None, max_examples=40)
def test_the_newest_of_all_reviews_always_stands(reviews):
    rows = [review(*given) for given in reviews]
    kept = latest_reviews(pa.Table.from_pylist(sorted(rows, key=lambda row: row["reviewed_at"]), REVIEWS)).to_pylist()
    assert len(kept) <= len(rows)
    if rows:
        newest = max(row["reviewed_at"] for row in rows)
        assert newest in [row["reviewed_at"] for row in kept]
    again = latest_reviews(pa.Table.from_pylist(sorted(kept, key=lambda row: row["reviewed_at"]), REVIEWS)).to_pylist()
    assert again == kept
