"""Which faces are worth a minute: the formula, its independence of order, slices that drift, models that disagree."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.labels import EXPRESSIONS
from fer_core.review.candidates import Candidates
from fer_core.review.choice import HARDLY, LEVELS, TERMS, by_priority, review_priority, shuffled, spread
from fer_core.review.opinions import disagreement
from fer_core.review.present import present_labels
from fer_core.review.slices import ENOUGH, drifted
from fer_core.storage.store import open_store
from tests.support import reviews


def faces_of(probabilities, images=None, day=None, **changes):
    """Faces that differ in what is given."""
    count = len(probabilities)
    ones, zeros = np.ones(count), np.zeros(count, np.int64)
    plain = Candidates(
        rows=np.arange(count),
        digests=pa.array([f"{number:064x}" for number in range(count)]),
        image=np.arange(count) if images is None else np.asarray(images, np.int64),
        boxes=np.tile(np.float32([0, 0, 50, 50]), (count, 1)) + np.arange(count, dtype=np.float32)[:, None],
        probabilities=np.asarray(probabilities, np.float64).reshape(count, 8),
        size_px=100 * ones,
        sharpness=ones,
        yaw_deg=0 * ones,
        model=zeros,
        detector=zeros,
        pipelines=pa.array(["p"]),
        pipeline=zeros,
        day=zeros if day is None else np.asarray(day, np.int64),
    )
    return replace(plain, **changes)


def sure_of(expression, confidence):
    row = np.full(8, (1 - confidence) / 7)
    row[EXPRESSIONS.index(expression)] = confidence
    return row


def asked(faces, **terms):
    nothing = np.zeros(len(faces))
    return by_priority(faces, review_priority(faces, terms.get("disagreement", nothing), terms.get("drift", nothing)).total).tolist()


_ROWS = st.lists(st.lists(st.integers(1, 9), min_size=8, max_size=8), min_size=1, max_size=12)


@st.composite
def crowds(draw):
    """Faces of a few images, and what else is known of each."""
    rows = np.array(draw(_ROWS), np.float64)
    count = len(rows)
    images = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    shares = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=count, max_size=count)
    return faces_of(rows / rows.sum(1, keepdims=True), images), np.array(draw(shares)), np.array(draw(shares))


@given(crowds(), st.randoms())
@settings(deadline=None, max_examples=40)
def test_no_order_of_rows_changes_what_is_asked(crowd, random):
    faces, differ, drift = crowd
    order = list(range(len(faces)))
    random.shuffle(order)
    moved = np.array(order, np.intp)
    first = asked(faces, disagreement=differ, drift=drift)
    again = asked(faces.take(moved), disagreement=differ[moved], drift=drift[moved])
    assert [order[face] for face in again] == first
    assert sorted(first) == list(range(len(faces)))
    drawn = shuffled(faces, 7).tolist()
    assert [order[face] for face in shuffled(faces.take(moved), 7)] == drawn


@given(crowds())
@settings(deadline=None, max_examples=40)
def test_one_face_of_each_image_comes_before_a_second_of_any(crowd):
    faces, differ, drift = crowd
    images = faces.image[asked(faces, disagreement=differ, drift=drift)].tolist()
    turns = [images[:at].count(image) for at, image in enumerate(images)]
    assert turns == sorted(turns)


@given(crowds())
@settings(deadline=None, max_examples=40)
def test_terms_stay_in_their_bounds(crowd):
    faces, differ, drift = crowd
    value = review_priority(faces, differ, drift)
    assert (value.terms >= 0).all()
    assert (value.terms <= [1, 1, 0.5, 0.5]).all()
    assert (value.total <= 3).all()


def test_the_least_sure_is_asked_first():
    rows = [sure_of("happiness", confidence) for confidence in (0.9, 0.4, 0.99, 0.6)]
    assert asked(faces_of(rows)) == [1, 3, 0, 2]


def test_one_who_knows_nothing_is_in_doubt_in_full():
    value = review_priority(faces_of([np.full(8, 1 / 8), sure_of("fear", 1.0)]), np.zeros(2), np.zeros(2))
    assert value.terms[:, TERMS.index("doubt")].tolist() == pytest.approx([1, 0])


def test_a_rare_expression_comes_before_a_common_one_of_the_same_confidence():
    rows = [sure_of("happiness", 0.8)] * 9 + [sure_of("contempt", 0.8)]
    assert asked(faces_of(rows))[0] == 9


def test_models_that_disagree_come_before_one_that_doubts():
    rows = [sure_of("happiness", 0.6), sure_of("happiness", 0.95)]
    assert asked(faces_of(rows)) == [0, 1]
    assert asked(faces_of(rows), disagreement=np.array([0, 0.9])) == [1, 0]


def test_a_weight_from_elsewhere_counts_as_drift():
    rows = [sure_of("happiness", 0.8), sure_of("happiness", 0.8)]
    assert asked(faces_of(rows), drift=np.array([0, 1.0])) == [1, 0]


@pytest.mark.parametrize("column", [{"size_px": [10, 100]}, {"sharpness": [0.1, 1]}, {"yaw_deg": [-80, 0]}])
def test_a_face_that_shows_too_little_counts_half(column):
    changes = {name: np.array(values, np.float64) for name, values in column.items()}
    faces = faces_of([sure_of("fear", 0.4), sure_of("fear", 0.6)], **changes)
    value = review_priority(faces, np.zeros(2), np.zeros(2))
    assert value.answerable.tolist() == [HARDLY, 1]
    assert asked(faces) == [1, 0]


def test_a_slice_that_fell_on_the_newest_day_has_drifted():
    before, after = ENOUGH, ENOUGH
    small = [sure_of("fear", 0.8)] * before + [sure_of("fear", 0.75)] * after
    large = [sure_of("fear", 0.8)] * before + [sure_of("fear", 0.85)] * after
    days = ([1] * before + [2] * after) * 2
    sizes = np.array([30.0] * (before + after) + [150.0] * (before + after))
    found = drifted(faces_of(small + large, day=days, size_px=sizes))
    assert found.tolist() == pytest.approx([0] * before + [0.5] * after + [0] * (before + after))


def test_a_slice_of_few_faces_or_of_one_day_says_nothing():
    few = [sure_of("fear", 0.9)] * ENOUGH + [sure_of("fear", 0.3)] * (ENOUGH - 1)
    assert not drifted(faces_of(few, day=[1] * ENOUGH + [2] * (ENOUGH - 1))).any()
    assert not drifted(faces_of(few)).any()
    assert len(drifted(faces_of(np.zeros((0, 8))))) == 0


def test_another_model_that_names_another_expression_disagrees(tmp_path):
    folder = reviews.photographs(tmp_path / "photos", 6, faces=2)
    for number, model in enumerate("ab"):
        reviews.night(tmp_path / "root", folder, number, model=model)
    before = reviews.labels_of(tmp_path / "root")
    store = open_store(str(tmp_path / "root"))
    with present_labels(store) as labels:
        faces = Candidates.of(labels)
        found = disagreement(store, faces)
    old = reviews.Guesser("a" * 64)
    assert {row["model_name"] for row in before} == {"model-b"}
    for row, distance, other in zip(before, found.distance, found.other, strict=True):
        said = old.predict(reviews.crop_of(row)[None]).probabilities[0]
        mine = np.array([row[f"p_{name}"] for name in EXPRESSIONS])
        differs = said.argmax() != mine.argmax()
        assert distance == pytest.approx(np.abs(said - mine).sum() / 2 if differs else 0, abs=1e-3)
        assert other == (said.argmax() if differs else -1)
    assert (found.distance > 0).any()


def test_the_same_pipeline_twice_disagrees_with_nobody(tmp_path):
    folder = reviews.photographs(tmp_path / "photos", 3)
    for number in range(2):
        reviews.night(tmp_path / "root", folder, number)
    store = open_store(str(tmp_path / "root"))
    with present_labels(store) as labels:
        found = disagreement(store, Candidates.of(labels))
    assert not found.distance.any()
    assert found.other.tolist() == [-1] * 3


def test_labels_whose_probabilities_are_no_numbers_are_not_asked_about(tmp_path):
    """An older release labelled with any weights; a page cannot show what such a label says."""
    reviews.night(tmp_path / "root", reviews.photographs(tmp_path / "photos", 3))

    class Spoilt:
        def columns(self, names):
            with present_labels(open_store(str(tmp_path / "root"))) as labels:
                rows = labels.columns(names)
            values = [float("nan"), *rows["p_fear"].to_pylist()[1:]]
            return rows.set_column(rows.schema.get_field_index("p_fear"), rows.schema.field("p_fear"), pa.array(values, pa.float32()))

    assert Candidates.of(Spoilt()).rows.tolist() == [1, 2]


class TestSpread:
    """Faces to tune a model by: of every expression said and every level of confidence."""

    def test_the_first_faces_are_of_all_expressions_and_levels(self):
        names = [name for name, count in (("neutral", 60), ("happiness", 30), ("fear", 10)) for _ in range(count)]
        faces = faces_of([sure_of(name, 0.3 + 0.6 * (number * 7 % 31) / 31) for number, name in enumerate(names)])
        first = spread(faces)[: 3 * LEVELS]
        said = [names[number] for number in first]
        assert {name: said.count(name) for name in names} == {"neutral": 5, "happiness": 5, "fear": 5}
        sure = faces.probabilities.max(axis=1)
        for name, count in (("neutral", 60), ("happiness", 30)):
            ranks = sorted(sure[[number for number, other in enumerate(names) if other == name]])
            levels = {np.searchsorted(ranks, sure[number]) * LEVELS // count for number in first if names[number] == name}
            assert len(levels) == LEVELS

    def test_all_faces_are_asked_once_whatever_their_order(self):
        random = np.random.default_rng(0)
        faces = faces_of(random.dirichlet(np.ones(8), 50), images=random.integers(0, 12, 50))
        order, mixed = spread(faces), random.permutation(50)
        assert sorted(order) == list(range(50))
        assert list(mixed[spread(faces.take(mixed))]) == list(order)

    def test_another_image_comes_before_another_face_of_the_same(self):
        """Twenty faces of two images, four of them in a level."""
        faces = faces_of([sure_of("anger", 0.3 + 0.03 * number) for number in range(20)], images=[0, 0, 1, 1] * 5)
        order = spread(faces)
        assert list(faces.image[order]) == [0] * 5 + [1] * 5 + [0] * 5 + [1] * 5

    def test_no_faces(self):
        assert not len(spread(faces_of(np.zeros((0, 8)))))
