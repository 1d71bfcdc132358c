import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fer_core.errors import FaceSetError
from fer_core.faceset import (
    SCHEMA,
    SPLITS,
    UNANIMOUS,
    VOTE_COLUMNS,
    FaceSetCard,
    Kind,
    faceset_digest,
    held_out_pictures,
    read_card,
    read_rows,
    read_split,
    split_file,
    write_card,
    write_split,
)
from fer_core.faceset import reader as reader_module
from fer_core.faceset.reader import luma_of
from fer_core.faceset.writer import FaceSetWriter, expression_of
from fer_core.hashing import file_sha256
from fer_core.labels import EXPRESSIONS
from fer_core.models.network import luma
from tests.support.made_faces import encoded, faces, made_faceset, rows, tinted


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
        assert (split.votes.sum(1) == UNANIMOUS).all()


@pytest.mark.parametrize("which", [0, 1, 2])
def test_one_coloured_face_makes_all_rgb(tmp_path: Path, which: int) -> None:
    folder = made_faceset(tmp_path, {"train": 3})
    grey = read_split(folder, "train").crops
    changed = list(rows(3, "train", "votes"))
    changed[which]["crop"] = encoded(tinted(grey[which]))
    write_split(folder, "train", iter(changed))
    crops = read_split(folder, "train").crops
    for index in range(3):
        assert np.array_equal(crops[index], tinted(grey[index]) if index == which else np.repeat(grey[index][..., None], 3, -1))


def test_empty_split(tmp_path: Path) -> None:
    split = read_split(made_faceset(tmp_path, {"train": 0}), "train")
    assert len(split) == 0
    assert split.crops.shape == (0, 112, 112)
    assert split.votes.shape == (0, 10)


def test_more_than_one_row_group(tmp_path: Path) -> None:
    row = next(rows(1, "train", "votes"))
    assert write_split(tmp_path, "train", ({**row, "sample_id": str(i)} for i in range(2001))) == 2001
    write_card(tmp_path, FaceSetCard("made", "votes", EXPRESSIONS, "drawn", {"train": 2001}, 0, 1.0))
    assert read_split(tmp_path, "train").ids == tuple(str(i) for i in range(2001))
    assert pq.ParquetFile(tmp_path / "faces-train.parquet").num_row_groups == 2


def test_row_groups_end_by_bytes(tmp_path: Path) -> None:
    row = next(rows(1, "train", "votes"))
    write_split(tmp_path, "train", [{**row, "crop": bytes(size)} for size in (400, 400, 400, 5000, 10)], group_bytes=1000)
    opened = pq.ParquetFile(tmp_path / "faces-train.parquet")
    assert [opened.metadata.row_group(i).num_rows for i in range(opened.num_row_groups)] == [3, 1, 1]
    assert [len(row["crop"]) for row in read_rows(tmp_path, "train")] == [400, 400, 400, 5000, 10]


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


@pytest.mark.parametrize(
    "change",
    [{"kind": "guesses"}, {"classes": ["joy"]}, {"strange": 1}, {"raw": "no"}, {"digests": "abc"}, {"per_class": 3}, {"counts": [1]}],
)
def test_card_of_another_house(tmp_path: Path, change: dict[str, object]) -> None:
    folder = made_faceset(tmp_path, {"train": 2})
    card = json.loads((folder / "faceset.json").read_text())
    (folder / "faceset.json").write_text(json.dumps({**card, **change}))
    refused(folder, "damaged card")


def test_a_card_without_later_fields_is_still_read(tmp_path: Path) -> None:
    folder = made_faceset(tmp_path, {"train": 2})
    card = json.loads((folder / "faceset.json").read_text())
    for name in ("undecodable", "raw", "straddling_removed", "per_class", "digests"):
        del card[name]
    (folder / "faceset.json").write_text(json.dumps(card))
    assert read_card(folder) == FaceSetCard("made", "votes", EXPRESSIONS, "drawn", {"train": 2}, 0, 1.0)
    assert len(read_split(folder, "train")) == 2


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


def test_schema_is_plain() -> None:
    names = ["sample_id", "source", "split", "group", "picture", "framing", "label", *VOTE_COLUMNS, "crop"]
    assert SCHEMA.names == names


# Pictures


def test_pictures_are_read_and_groups_stand_for_those_that_are_not_there(tmp_path: Path) -> None:
    folder = made_faceset(tmp_path, {"train": 3})
    made = list(rows(3, "train", "votes"))
    write_split(folder, "train", [{**made[0], "picture": "a" * 64}, {**made[1], "picture": "b" * 64}, made[2]])
    split = read_split(folder, "train")
    assert split.pictures == ("a" * 64, "b" * 64, made[2]["group"])
    assert split.groups == tuple(row["group"] for row in made)
    older = pq.read_table(folder / "faces-train.parquet").drop_columns(["picture"])
    pq.write_table(older, folder / "faces-train.parquet")
    split = read_split(folder, "train")
    assert split.pictures == split.groups


def test_held_out_pictures_are_those_of_every_split_but_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made_faceset(tmp_path, {"train": 3, "valid": 2, "test": 1})
    write_split(folder, "test", [{**next(rows(1, "test", "votes")), "picture": "c" * 64}])
    monkeypatch.setattr(reader_module, "decode_crop", None)
    assert held_out_pictures(folder) == {"valid-0", "valid-1", "c" * 64}
    (folder / "faces-valid.parquet").unlink()
    with pytest.raises(FaceSetError, match="no split 'valid'"):
        held_out_pictures(folder)


# Luma


@pytest.mark.parametrize("coloured", [set(), {0}, {2}, {0, 1, 2, 3, 4}])
def test_luma_is_what_the_network_makes_of_the_colours(tmp_path: Path, coloured: set[int]) -> None:
    made = list(rows(5, "train", "votes"))
    noise = np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3)).astype(np.uint8)
    for index in coloured:
        made[index]["crop"] = encoded(noise[index])
    write_split(tmp_path, "train", made)
    write_card(tmp_path, FaceSetCard("made", "votes", EXPRESSIONS, "drawn", {"train": 5}, 0, 1.0))
    grey, full = read_split(tmp_path, "train", luma=True).crops, read_split(tmp_path, "train").crops
    assert (grey.shape, grey.dtype) == ((5, 112, 112), np.uint8)
    if not coloured:
        assert np.array_equal(grey, full)
        return
    exact = luma(torch.from_numpy(full).permute(0, 3, 1, 2).double())[:, 0].numpy()
    assert np.abs(grey - exact).max() <= 0.5 + 1e-9
    for index in {0, 1, 2, 3, 4} - coloured:
        assert np.array_equal(grey[index], full[index, ..., 0])


def test_luma_of_the_corners_of_the_cube_and_of_greys() -> None:
    assert luma_of(np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], np.uint8)).tolist() == [76, 150, 29, 255]
    greys = np.arange(256, dtype=np.uint8)
    assert np.array_equal(luma_of(np.repeat(greys[:, None], 3, 1)), greys)


@settings(deadline=None, max_examples=50)
@given(arrays(np.uint8, (64, 3)))
def test_luma_agrees_with_the_network_to_rounding(colours: np.ndarray) -> None:
    exact = luma(torch.from_numpy(colours).double().T[None, :, :, None])[0, 0, :, 0].numpy()
    assert np.abs(luma_of(colours) - exact).max() <= 0.5 + 1e-9


# Raw sets, counts, digests


def test_a_raw_set_is_neither_trained_on_nor_evaluated(tmp_path: Path) -> None:
    write_split(tmp_path, "train", [{**next(rows(1, "train", "votes")), "framing": "raw", "crop": b"anything"}])
    write_card(tmp_path, FaceSetCard("made", "votes", EXPRESSIONS, "", {"train": 1}, 0, 0.0, raw=True))
    refused(tmp_path, f"run `ferflow dataset prepare {tmp_path} --to FACESET` first")
    assert [row["crop"] for row in read_rows(tmp_path, "train")] == [b"anything"]


votes = st.lists(st.integers(0, 10) | st.none(), min_size=10, max_size=10)


@given(votes)
def test_the_expression_of_votes_is_the_first_of_the_largest(cast: list[int | None]) -> None:
    found = expression_of({"label": None, **dict(zip(VOTE_COLUMNS, cast, strict=True))})
    numbers = np.array([vote or 0 for vote in cast[:8]])
    assert found == (EXPRESSIONS[numbers.argmax()] if numbers.any() else None)


def test_what_was_written_is_counted_by_split_and_expression(tmp_path: Path) -> None:
    made = [*rows(9, "train", "single", classes=("fear", "neutral")), *rows(2, "test", "single", classes=("anger",))]
    with FaceSetWriter(tmp_path) as writer:
        for row in made[::2] + made[1::2]:  # splits may come in turns
            writer.add(row)
        card = writer.finish(FaceSetCard("made", "single", (), "drawn", {}, 0, 1.0))
    assert card.classes == ("neutral", "anger", "fear")
    assert card.counts == {"train": 9, "test": 2}
    assert card.per_class == {"train": {"neutral": 4, "anger": 0, "fear": 5}, "test": {"neutral": 0, "anger": 2, "fear": 0}}
    assert card.digests == {split: file_sha256(split_file(tmp_path, split)) for split in ("train", "test")}
    write_card(tmp_path, card)
    assert read_card(tmp_path) == card
    assert [row["label"] for row in read_rows(tmp_path, "test")] == ["anger", "anger"]


def test_faces_without_a_vote_for_an_expression_are_in_no_class(tmp_path: Path) -> None:
    made = list(rows(2, "valid", "votes"))
    made[1] |= dict.fromkeys(VOTE_COLUMNS, 0) | {"votes_unknown": 10}
    with FaceSetWriter(tmp_path) as writer:
        for row in made:
            writer.add(row)
        card = writer.finish(FaceSetCard("made", "votes", (), "drawn", {}, 0, 1.0))
    assert card.classes == EXPRESSIONS
    assert card.counts == {"valid": 2}
    assert sum(card.per_class["valid"].values()) == 1


def carded(folder: Path, **changes: Any) -> Path:
    """A face set with digests."""
    with FaceSetWriter(folder) as writer:
        for split in SPLITS[:2]:
            for row in rows(3, split, "votes"):
                writer.add({**row, **changes} if split == "valid" else row)
        write_card(folder, writer.finish(FaceSetCard("made", "votes", (), "drawn", {}, 0, 1.0)))
    return folder


def test_the_digest_of_a_set_depends_on_all_of_it_and_on_no_place(tmp_path: Path) -> None:
    whole = faceset_digest(carded(tmp_path / "a"))
    assert len(whole) == 64
    assert faceset_digest(carded(tmp_path / "b")) == whole
    assert faceset_digest(carded(tmp_path / "c", votes_fear=3)) != whole
    card = json.loads((tmp_path / "b" / "faceset.json").read_text())
    (tmp_path / "b" / "faceset.json").write_text(json.dumps(card, indent=8))
    assert faceset_digest(tmp_path / "b") == whole  # blanks are no content
    (tmp_path / "b" / "faceset.json").write_text(json.dumps({**card, "detector": "another"}))
    assert faceset_digest(tmp_path / "b") != whole


def test_the_digest_of_a_set_whose_card_has_none_is_taken_from_its_files(tmp_path: Path) -> None:
    folder = carded(tmp_path)
    card = json.loads((folder / "faceset.json").read_text())
    (folder / "faceset.json").write_text(json.dumps({**card, "digests": {}}))
    whole = faceset_digest(folder)
    file = folder / "faces-valid.parquet"
    file.write_bytes(file.read_bytes() + b" ")
    assert faceset_digest(folder) != whole
    file.unlink()
    with pytest.raises(FaceSetError, match=r"cannot read .*faces-valid"):
        faceset_digest(folder)


def test_a_disk_that_is_full_is_one_sentence(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "faces-train.parquet").symlink_to("/dev/full")
    with pytest.raises(FaceSetError, match=r"cannot write a face set to .*no space left") as caught:
        write_split(tmp_path, "train", rows(50, "train", "votes"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FaceSetError, match="cannot write a face set"):
        write_split(tmp_path / place, "train", rows(1, "train", "votes"))


def test_no_crop_is_read_into_another_shape(tmp_path: Path) -> None:
    with_alpha = cv2.imencode(".png", np.zeros((112, 112, 4), np.uint8))[1].tobytes()
    folder = made_faceset(tmp_path, {"train": 1})
    write_split(folder, "train", [{**next(rows(1, "train", "votes")), "crop": with_alpha}])
    refused(folder, "damaged face")
