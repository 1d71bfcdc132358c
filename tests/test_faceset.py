import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_faces import encoded, faces, made_faceset, rows, tinted

from fer_core.errors import FaceSetError
from fer_core.faceset import (
    SCHEMA,
    VOTE_COLUMNS,
    FaceSplit,
    Kind,
    carve_dev,
    clear,
    make_folder,
    read_card,
    read_split,
    vote_targets,
    write_split,
)
from fer_core.labels import EXPRESSIONS

vote_rows = arrays(np.float32, (4, 10), elements=st.integers(0, 10).map(float))


@pytest.mark.parametrize("kind", ["votes", "single"])
@pytest.mark.parametrize("colour", [False, True])
def test_round_trip(tmp_path: Path, kind: Kind, colour: bool) -> None:
    folder = made_faceset(tmp_path / "set=1", {"train": 20, "valid": 9}, kind, colour)  # a reader must not take = for a partition
    card, split, made = read_card(folder), read_split(folder, "valid"), list(rows(9, "valid", kind, colour))
    assert card.counts == {"train": 20, "valid": 9}
    assert (split.kind, split.classes, len(split)) == (kind, EXPRESSIONS, 9)
    assert split.ids == tuple(row["sample_id"] for row in made)
    assert split.groups == tuple(row["group"] for row in made)
    assert split.crops.shape == ((9, 112, 112, 3) if colour else (9, 112, 112))
    assert all(encoded(crop) == row["crop"] for crop, row in zip(split.crops, made, strict=True))  # lossless, and red stays red
    if kind == "votes":
        assert split.votes.tolist() == [[float(row[name]) for name in VOTE_COLUMNS] for row in made]
    else:
        assert split.votes.argmax(1).tolist() == [EXPRESSIONS.index(row["label"]) for row in made]
        assert (split.votes.sum(1) == 1).all()


def test_one_coloured_face_makes_all_rgb(tmp_path: Path) -> None:
    folder = made_faceset(tmp_path, {"train": 3})
    grey = read_split(folder, "train").crops
    changed = list(rows(3, "train", "votes"))
    changed[1]["crop"] = encoded(tinted(grey[1]))
    write_split(folder, "train", iter(changed))
    crops = read_split(folder, "train").crops
    assert np.array_equal(crops[0], np.repeat(grey[0][..., None], 3, -1))
    assert np.array_equal(crops[1], tinted(grey[1]))


def test_empty_split(tmp_path: Path) -> None:
    split = read_split(made_faceset(tmp_path, {"train": 0}), "train")
    assert len(split) == 0
    assert split.crops.shape == (0, 112, 112)
    assert split.votes.shape == (0, 10)


def test_more_than_one_batch(tmp_path: Path) -> None:
    row = next(rows(1, "train", "votes"))
    assert write_split(tmp_path, "train", ({**row, "sample_id": str(i)} for i in range(2001))) == 2001
    assert pq.read_table(tmp_path / "faces-train.parquet")["sample_id"].to_pylist() == [str(i) for i in range(2001)]


def refused(folder: Path, match: str, split: str = "train") -> None:
    with pytest.raises(FaceSetError, match=match) as caught:
        read_split(folder, split)
    assert "\n" not in str(caught.value)


def test_not_a_face_set(tmp_path: Path) -> None:
    refused(tmp_path, "not a face set")
    refused(tmp_path / "absent", "not a face set")


@pytest.mark.parametrize("change", [b"", b"{", b"[]", b"{}", b"\xff\xff", b'{"classes": 3}'])
def test_damaged_card(tmp_path: Path, change: bytes) -> None:
    folder = made_faceset(tmp_path, {"train": 2})
    (folder / "faceset.json").write_bytes(change)
    refused(folder, "damaged card")


@pytest.mark.parametrize("change", [{"kind": "guesses"}, {"classes": ["joy"]}, {"strange": 1}])
def test_card_of_another_house(tmp_path: Path, change: dict[str, object]) -> None:
    folder = made_faceset(tmp_path, {"train": 2})
    card = json.loads((folder / "faceset.json").read_text())
    (folder / "faceset.json").write_text(json.dumps({**card, **change}))
    refused(folder, "damaged card")


def test_a_card_without_later_fields_is_still_read(tmp_path: Path) -> None:
    folder = made_faceset(tmp_path, {"train": 2})
    card = json.loads((folder / "faceset.json").read_text())
    del card["undecodable"]
    (folder / "faceset.json").write_text(json.dumps(card))
    assert read_card(folder).undecodable == 0


def test_absent_split_names_those_present(tmp_path: Path) -> None:
    refused(made_faceset(tmp_path, {"train": 2, "valid": 1}), "no split 'test' .it has: train, valid.", "test")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all" * 10])
def test_damaged_parquet(tmp_path: Path, content: bytes) -> None:
    folder = made_faceset(tmp_path, {"train": 2})
    (folder / "faces-train.parquet").write_bytes(content)
    refused(folder, "damaged split")


def test_truncated_parquet(tmp_path: Path) -> None:
    folder = made_faceset(tmp_path, {"train": 2})
    file = folder / "faces-train.parquet"
    file.write_bytes(file.read_bytes()[:-50])
    refused(folder, "damaged split")


def test_parquet_of_another_kind(tmp_path: Path) -> None:
    folder = made_faceset(tmp_path, {"train": 2})
    pq.write_table(pa.table({"votes_neutral": ["many"], "crop": [1.5]}), folder / "faces-train.parquet")
    refused(folder, "damaged split")
    pq.write_table(pa.table({"sample_id": ["a"]}), folder / "faces-train.parquet")
    refused(folder, "values are missing")


@pytest.mark.parametrize("crop", [b"", b"no picture", encoded(faces(1)[0][:100]), encoded(faces(1)[0].astype(np.uint16))])
def test_damaged_crop(tmp_path: Path, crop: bytes) -> None:
    folder = made_faceset(tmp_path, {"train": 2})
    write_split(folder, "train", iter([{**next(rows(1, "train", "votes")), "crop": crop}]))
    refused(folder, "damaged face")


@pytest.mark.parametrize("label", [None, "joy", "contempt"])
def test_label_that_the_card_does_not_know(tmp_path: Path, label: str | None) -> None:
    folder = made_faceset(tmp_path, {"train": 7}, "single", classes=EXPRESSIONS[:7])
    write_split(folder, "train", iter([{**next(rows(1, "train", "single")), "label": label}]))
    refused(folder, "not one of the card's classes")


def test_clear_leaves_other_files(tmp_path: Path) -> None:
    folder = made_faceset(tmp_path, {"train": 2, "valid": 1})
    (folder / "notes.txt").write_text("mine")
    clear(folder)
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FaceSetError, match="cannot write a face set"):
            make_folder(place)
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")


def split_of(groups: list[str]) -> FaceSplit:
    count = len(groups)
    ids = tuple(str(i) for i in range(count))
    return FaceSplit(ids, tuple(groups), np.zeros((count, 112, 112), np.uint8), np.ones((count, 10), np.float32), "votes", EXPRESSIONS)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text("abcdef", max_size=2), max_size=40), st.floats(0, 1))
def test_carving_keeps_groups_whole_and_is_stable(groups: list[str], share: float) -> None:
    rest, dev = carve_dev(split_of(groups), share)
    assert set(rest.groups).isdisjoint(dev.groups)
    assert sorted(rest.ids + dev.ids) == sorted(str(i) for i in range(len(groups)))
    backwards = carve_dev(split_of(groups[::-1]), share)[1]
    assert set(backwards.groups) == set(dev.groups)  # neither order nor company decides
    assert set(carve_dev(split_of([*groups, "new"]), share)[1].groups) - {"new"} == set(dev.groups) - {"new"}
    assert set(carve_dev(split_of(groups), share / 2)[1].groups) <= set(dev.groups)


def test_carved_share() -> None:
    split = split_of([f"person {i}" for i in range(2000)])
    assert 150 < len(carve_dev(split, 0.1)[1]) < 250
    assert len(carve_dev(split, 0.0)[1]) == 0
    assert len(carve_dev(split, 1.0)[0]) == 0


@settings(deadline=None, max_examples=100)
@given(vote_rows, st.sampled_from(["votes", "single"]))
def test_targets_are_distributions(votes: np.ndarray, kind: Kind) -> None:
    before = votes.copy()
    targets, weights = vote_targets(votes, kind)
    assert (targets.dtype, weights.dtype, targets.shape) == (np.float32, np.float32, (4, 8))
    assert np.allclose(targets.sum(1), 1, atol=1e-6)
    assert (targets >= 0).all()
    assert ((weights >= 0) & (weights <= 1)).all()
    assert np.array_equal(votes, before)
    seen = votes[:, :8].sum(1) > 0
    assert np.array_equal(weights > 0, seen)
    assert (targets[~seen] == np.float32(1 / 8)).all()
    assert (targets[seen][votes[seen, :8] == 0] == 0).all()
    for target, vote in zip(targets[seen], votes[seen, :8], strict=True):
        assert target[vote.argmax()] == target.max()


def test_targets_by_hand() -> None:
    votes = np.array([[6, 3, 1, 0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0, 2, 0], [0, 4, 0, 0, 0, 0, 0, 1, 3, 2]], np.float32)
    targets, weights = vote_targets(votes, "votes")
    assert np.allclose(targets[0, :3], [2 / 3, 1 / 3, 0])  # the single vote is noise
    assert np.allclose(targets[1, :2], [0.5, 0.5])  # nobody agrees, so single votes are all there is
    assert np.allclose(targets[2], np.eye(8)[1])
    assert np.allclose(weights, [1, 0.5, 0.5])


def test_schema_is_plain() -> None:
    assert SCHEMA.names == ["sample_id", "source", "split", "group", "framing", "label", *VOTE_COLUMNS, "crop"]
