import hashlib
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fer_core.errors import FaceSetError
from fer_core.evaluation.evaluate import majority_classes
from fer_core.faceset import UNANIMOUS, FaceSplit, Kind, carve_dev, join, vote_targets
from fer_core.labels import EXPRESSIONS

SEVEN = EXPRESSIONS[:7]
vote_rows = arrays(np.float32, (4, 10), elements=st.integers(0, 10).map(float))
names = st.text("abcdef", max_size=2)
kinds = st.sampled_from(["votes", "single"])


def split_of(
    groups: Sequence[str], pictures: Sequence[str] = (), kind: Kind = "votes", classes: tuple[str, ...] = EXPRESSIONS
) -> FaceSplit:
    """Face i has id i, votes for expression i, and i as its grey level."""
    count = len(groups)
    votes = np.zeros((count, 10), np.float32)
    votes[np.arange(count), np.arange(count) % len(classes)] = UNANIMOUS
    crops = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None], (count, 112, 112))
    return FaceSplit(tuple(map(str, range(count))), tuple(groups), crops, votes, kind, classes, tuple(pictures))


def test_what_is_left_out_follows_from_the_rest() -> None:
    split = split_of(["a", "b"], kind="single", classes=SEVEN)
    assert split.pictures == ("a", "b")
    assert split.single.tolist() == [True, True]
    assert split.known.tolist() == [[True] * 7 + [False]] * 2
    assert not split_of(["a"]).single.any()
    assert split_of(["a"]).known.all()
    empty = split_of([])
    assert (empty.single.shape, empty.known.shape) == ((0,), (0, 8))


@pytest.mark.parametrize("column", ["ids", "groups", "crops", "votes", "pictures", "single", "known"])
def test_columns_that_disagree_are_refused(column: str) -> None:
    split = split_of(["a", "b", "c"])
    with pytest.raises(ValueError, match="disagree"):
        replace(split, **{column: getattr(split, column)[:2]})


@given(st.lists(st.integers(0, 4), max_size=8))
def test_taking_faces_takes_every_column(index: list[int]) -> None:
    split = replace(split_of(list("abcde"), list("vwxyz")), single=np.array([0, 1, 0, 1, 1], bool))
    taken = split.take(np.array(index, np.intp))
    assert taken.ids == tuple(split.ids[i] for i in index)
    assert taken.groups == tuple(split.groups[i] for i in index)
    assert taken.pictures == tuple(split.pictures[i] for i in index)
    assert taken.crops[:, 0, 0].tolist() == index
    assert taken.votes.argmax(1).tolist() == index
    assert taken.single.tolist() == [i in (1, 3, 4) for i in index]
    assert taken.known.shape == (len(index), 8)


# The development part


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(names, names), max_size=30), st.floats(0, 1), st.randoms(use_true_random=False))
def test_carving_keeps_groups_and_pictures_apart_and_is_stable(faces: list[tuple[str, str]], share: float, random: Random) -> None:
    groups, pictures = [group for group, _ in faces], [picture or "none" for _, picture in faces]
    split = split_of(groups, pictures)
    rest, dev = carve_dev(split, share)
    assert set(rest.groups).isdisjoint(dev.groups)
    assert set(rest.pictures).isdisjoint(dev.pictures)
    assert len(set(dev.pictures)) == len(dev)  # no picture twice
    lost = {str(i) for i in range(len(faces))} - {*rest.ids, *dev.ids}
    assert all(pictures[int(i)] in dev.pictures for i in lost)  # copies of what is in dev, and nothing else
    assert [rest.ids, dev.ids] == [part.ids for part in carve_dev(split, share)]
    shuffled = list(range(len(faces)))
    random.shuffle(shuffled)
    rest_too, dev_too = carve_dev(split.take(np.array(shuffled, np.intp)), share)
    assert set(dev_too.pictures) == set(dev.pictures)  # order does not decide ...
    assert sorted(rest_too.ids) == sorted(rest.ids)
    assert set(carve_dev(split, share / 2)[1].pictures) <= set(dev.pictures)
    other = carve_dev(split_of([*groups, "new"], [*pictures, "new"]), share)[1]
    assert set(other.pictures) - {"new"} == set(dev.pictures)  # ... nor does company


@settings(deadline=None, max_examples=50)
@given(st.lists(names, max_size=40), st.floats(0, 1))
def test_groups_are_drawn_by_name_as_ever(groups: list[str], share: float) -> None:
    drawn = {group for group in groups if int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) < int(share * 2**32)}
    rest, dev = carve_dev(split_of(groups), share)
    assert set(dev.groups) == drawn
    assert set(rest.groups) == set(groups) - drawn


def test_groups_that_were_drawn_before_are_drawn_still() -> None:
    """Fixed by hand: models were trained on the rest."""
    _, dev = carve_dev(split_of([f"person {i}" for i in range(100)]), 0.1)
    assert dev.groups == tuple(f"person {i}" for i in (3, 45, 53, 64, 84, 93, 97))


def test_of_copies_in_dev_the_first_stays() -> None:
    rest, dev = carve_dev(split_of(["a", "a", "b", "c"], ["x", "x", "y", "x"]), 1.0)
    assert dev.ids == ("0", "2")
    assert len(rest) == 0


def test_carved_share() -> None:
    split = split_of([f"person {i}" for i in range(2000)])
    assert 150 < len(carve_dev(split, 0.1)[1]) < 250
    assert len(carve_dev(split, 0.0)[1]) == 0
    assert len(carve_dev(split, 1.0)[0]) == 0


# Targets


@settings(deadline=None, max_examples=100)
@given(vote_rows, kinds | arrays(np.bool_, 4), st.floats(0, 0.99))
def test_targets_are_distributions(votes: np.ndarray, kind: Kind | np.ndarray, smoothing: float) -> None:
    before = votes.copy()
    targets, weights = vote_targets(votes, kind, smoothing)
    assert (targets.dtype, weights.dtype, targets.shape) == (np.float32, np.float32, (4, 8))
    assert np.allclose(targets.sum(1), 1, atol=1e-6)
    assert (targets >= 0).all()
    assert ((weights >= 0) & (weights <= 1)).all()
    assert np.array_equal(votes, before)
    seen = votes[:, :8].sum(1) > 0
    assert np.array_equal(weights > 0, seen)
    assert np.allclose(targets[~seen], 1 / 8)
    for target, vote in zip(targets[seen], votes[seen, :8], strict=True):
        assert target[vote.argmax()] == target.max()


@settings(deadline=None, max_examples=100)
@given(vote_rows, arrays(np.bool_, 4), st.floats(0, 0.99))
def test_each_face_is_treated_as_its_kind(votes: np.ndarray, single: np.ndarray, smoothing: float) -> None:
    targets, weights = vote_targets(votes, single, smoothing)
    for kind, chosen in (("single", single), ("votes", ~single)):
        alone = vote_targets(votes[chosen], kind, smoothing)
        assert np.array_equal(targets[chosen], alone[0])
        assert np.array_equal(weights[chosen], alone[1])
    raters = ~single & (votes[:, :8].sum(1) > 0)
    assert (targets[raters][votes[raters, :8] == 0] == 0).all()  # smoothing is for single labels


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothing_spreads_its_mass_over_the_eight(smoothing: float) -> None:
    targets, weights = vote_targets(split_of(["a"] * 8).votes, "single", smoothing)
    assert np.allclose(targets, (1 - smoothing) * np.eye(8) + smoothing / 8)
    assert (weights == 1).all()


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_smoothing_that_makes_no_sense(smoothing: float) -> None:
    with pytest.raises(ValueError, match="smoothing"):
        vote_targets(split_of(["a"]).votes, "single", smoothing)


def test_targets_by_hand() -> None:
    votes = np.array([[6, 3, 1, 0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0, 2, 0], [0, 4, 0, 0, 0, 0, 0, 1, 3, 2]], np.float32)
    targets, weights = vote_targets(votes, "votes")
    assert np.allclose(targets[0, :3], [2 / 3, 1 / 3, 0])  # the single vote is noise
    assert np.allclose(targets[1, :2], [0.5, 0.5])  # no two raters agree, so there are only single votes
    assert np.allclose(targets[2], np.eye(8)[1])
    assert np.allclose(weights, [1, 0.5, 0.5])


# Several sets


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(kinds, st.lists(st.tuples(names, st.sampled_from("uvwxyz")), max_size=6), st.sampled_from([7, 8])), min_size=1, max_size=4
    ),
    st.sets(st.sampled_from("uvwxyz")),
)
def test_joining_keeps_every_face_as_it_was_but_for_what_is_held_out(
    parts: list[tuple[Kind, list[tuple[str, str]], int]], held_out: set[str]
) -> None:
    splits = [split_of([g for g, _ in faces], [p for _, p in faces], kind, EXPRESSIONS[:known]) for kind, faces, known in parts]
    joined = join(splits, held_out)
    expected = [(split, i) for split in splits for i, picture in enumerate(split.pictures) if picture not in held_out]
    assert len(joined) == len(expected)
    assert held_out.isdisjoint(joined.pictures)
    for at, (split, i) in enumerate(expected):
        assert (joined.ids[at], joined.groups[at], joined.pictures[at]) == (split.ids[i], split.groups[i], split.pictures[i])
        assert np.array_equal(joined.crops[at], split.crops[i])
        assert np.array_equal(joined.votes[at], split.votes[i])
        assert bool(joined.single[at]) == (split.kind == "single")
        assert tuple(np.array(EXPRESSIONS)[joined.known[at]]) == split.classes
    assert set(joined.classes) == {name for split in splits for name in split.classes}
    assert (joined.kind == "single") == all(split.kind == "single" for split in splits)
    # what trains and scores goes by `kind` and must come to the same as before
    assert len(majority_classes(joined.votes, joined.kind)[1]) == len(joined)
    assert np.array_equal(majority_classes(joined.votes, joined.kind)[0], joined.votes.argmax(1))
    targets, weights = vote_targets(joined.votes, joined.single, 0.1)
    alone = [vote_targets(split.votes[[i]], split.kind, 0.1) for split, i in expected]
    assert np.array_equal(targets, np.concatenate([np.zeros((0, 8), np.float32), *(each for each, _ in alone)]))
    assert np.array_equal(weights, np.concatenate([np.zeros(0, np.float32), *(each for _, each in alone)]))


def test_a_coloured_split_makes_all_rgb() -> None:
    grey, colour = split_of(["a", "b"]), split_of(["c"])
    rgb = np.zeros((1, 112, 112, 3), np.uint8)
    rgb[..., 0] = 200
    joined = join([grey, replace(colour, crops=rgb)])
    assert joined.crops.shape == (3, 112, 112, 3)
    assert (joined.crops[1] == 1).all()
    assert joined.crops[2, 0, 0].tolist() == [200, 0, 0]


def test_one_split_is_itself_and_none_is_refused() -> None:
    split = split_of(["a", "b"])
    assert join([split]) is split
    assert join([split], {"strange"}) is split
    assert join([split], {"a"}).ids == ("1",)
    with pytest.raises(FaceSetError, match="no face set to join"):
        join([])
