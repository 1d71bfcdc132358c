"""Reviewed faces as a face set: which, with which label, from where, and in which split."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fer_core.errors import FaceSetError
from fer_core.faceset import read_card, read_rows, read_split
from fer_core.review.face_set import Shares, import_reviewed
from fer_core.review.incoming import import_reviews
from fer_core.storage.store import open_store
from tests.support import reviews


def reviewed(tmp_path, verdicts, name="c.json", export_id="0" * 16):
    """Says of each current label, in turn, what `verdicts` says; None is passed over."""
    rows = reviews.labels_of(tmp_path / "root")
    entries = [reviews.correction(row, verdict) for row, verdict in zip(rows, verdicts, strict=True) if verdict]
    import_reviews(open_store(str(tmp_path / "root")), reviews.written(tmp_path / name, reviews.corrections(entries, export_id)))
    return rows


def make(tmp_path, shares=None, name="set"):
    return import_reviewed(open_store(str(tmp_path / "root")), tmp_path / name, shares)


def in_set(folder: Path):
    return [row for split in read_card(folder).counts for row in read_rows(folder, split)]


def test_faces_with_an_expression_are_in_the_set_as_they_were_labelled(tmp_path):
    reviews.night(tmp_path / "root", reviews.photographs(tmp_path / "photos", 3, faces=2))
    rows = reviewed(tmp_path, ["fear", "anger", "not_a_face", "unsure", None, "fear"])
    found = make(tmp_path, Shares(0, 0))
    assert (found.reviewed, found.no_expression, found.orphans, found.gone) == (5, 2, 0, 0)
    assert read_card(tmp_path / "set") == found.card
    assert (found.card.kind, found.card.detector, found.card.counts) == ("single", "drawn-0", {"train": 3})
    assert found.card.classes == ("anger", "fear")
    split = read_split(tmp_path / "set", "train")
    named = dict(zip(split.ids, split.crops, strict=True))
    for row, verdict in ((rows[0], "fear"), (rows[1], "anger"), (rows[5], "fear")):
        (entry,) = [
            entry for entry in in_set(tmp_path / "set") if entry["sample_id"].startswith(f"{row['image_sha256']}/{row['box_x']:g},")
        ]
        assert (entry["label"], entry["group"], entry["framing"]) == (verdict, row["image_sha256"], "points")
        assert np.array_equal(named[entry["sample_id"]], reviews.crop_of(row))


@pytest.mark.parametrize("there", [True, False])
def test_kept_crops_are_taken_also_when_photographs_are_gone(tmp_path, there):
    folder = reviews.photographs(tmp_path / "photos", 2, faces=2)
    reviews.night(tmp_path / "root", folder, keep_crops=True)
    rows = reviewed(tmp_path, ["fear"] * 4)
    expected = sorted(hashlib.sha256(reviews.crop_of(row).tobytes()).hexdigest() for row in rows)
    if not there:
        for file in folder.iterdir():
            file.unlink()
    assert make(tmp_path, Shares(0, 0)).gone == 0
    crops = read_split(tmp_path / "set", "train").crops
    assert sorted(hashlib.sha256(crop.tobytes()).hexdigest() for crop in crops) == expected


def test_faces_without_a_picture_are_left_out_and_counted(tmp_path):
    folder = reviews.photographs(tmp_path / "photos", 3)
    reviews.night(tmp_path / "root", folder)
    reviewed(tmp_path, ["fear", "anger", "fear"])
    (folder / "photo-001.png").unlink()
    found = make(tmp_path, Shares(0, 0))
    assert (found.gone, found.card.undecodable, found.card.counts, found.card.classes) == (1, 1, {"train": 2}, ("fear",))
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(FaceSetError, match=r"the images of all 3 reviewed faces .* are missing"):
        make(tmp_path, name="none")
    assert not (tmp_path / "none").exists()


def test_orphans_are_left_out(tmp_path):
    folder = reviews.photographs(tmp_path / "photos", 2)
    reviews.night(tmp_path / "root", folder)
    reviewed(tmp_path, ["fear", "fear"])
    (folder / "photo-000.png").write_bytes(reviews.photograph(["anger"], 99))
    reviews.night(tmp_path / "root", folder, 1)
    found = make(tmp_path, Shares(0, 0))
    assert (found.reviewed, found.orphans, found.card.counts) == (2, 1, {"train": 1})


def test_no_image_and_no_picture_is_in_two_splits(tmp_path):
    folder = reviews.photographs(tmp_path / "photos", 4, faces=2)
    for number in range(4, 14):
        data = reviews.photograph(["fear"], number)
        (folder / f"photo-{number:03d}.png").write_bytes(data)
        with Image.open(folder / f"photo-{number:03d}.png") as picture:
            picture.save(folder / f"same-{number:03d}.bmp")  # the same pixels in other bytes
    reviews.night(tmp_path / "root", folder)
    reviewed(tmp_path, ["fear"] * 28)
    found = make(tmp_path, Shares(0.3, 0.3))
    assert set(found.card.counts) == {"train", "valid", "test"}
    assert sum(found.card.counts.values()) + found.card.duplicates_removed == 28
    assert found.card.duplicates_removed > 0
    for name in ("group", "picture"):
        places = {(row[name], row["split"]) for row in in_set(tmp_path / "set")}
        assert len(places) == len({value for value, _ in places})


def test_the_same_reviews_give_the_same_set_and_it_can_be_made_anew(tmp_path):
    reviews.night(tmp_path / "root", reviews.photographs(tmp_path / "photos", 6))
    reviewed(tmp_path, ["fear", "anger"] * 3)
    first = make(tmp_path)
    assert make(tmp_path).card == first.card
    assert make(tmp_path, name="other").card.digests == first.card.digests
    reviewed(tmp_path, ["anger"] * 6, "later.json", "1" * 16)
    again = make(tmp_path)
    assert again.card.classes == ("anger",)
    assert {row["label"] for row in in_set(tmp_path / "set")} == {"anger"}


def test_a_picture_of_one_face_is_known_by_its_pixels_as_in_other_sets(tmp_path):
    folder = reviews.photographs(tmp_path / "photos", 1)
    reviews.night(tmp_path / "root", folder)
    reviewed(tmp_path, ["fear"])
    make(tmp_path, Shares(0, 0))
    with Image.open(folder / "photo-000.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    (row,) = in_set(tmp_path / "set")
    assert row["picture"] == hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def test_nothing_reviewed_is_one_sentence(tmp_path):
    reviews.night(tmp_path / "root", reviews.photographs(tmp_path / "photos", 1))
    with pytest.raises(FaceSetError, match=r"no face under .* has a reviewed expression"):
        make(tmp_path)
    reviewed(tmp_path, ["unsure"])
    with pytest.raises(FaceSetError, match=r"no face under .* has a reviewed expression"):
        make(tmp_path)
    assert not (tmp_path / "set").exists()


@given(st.text("0123456789abcdef", min_size=64, max_size=64), st.floats(0, 0.49), st.floats(0, 0.49))
def test_a_split_hangs_on_the_digest_and_holds_what_larger_shares_add_to(digest, valid, test):
    shares = Shares(valid, test)
    assert shares.split_of(digest) == Shares(valid, test).split_of(digest)
    if shares.split_of(digest) == "test":
        assert replace(shares, test=min(0.5, test + 0.01)).split_of(digest) == "test"
    assert Shares(0, 0).split_of(digest) == "train"


@pytest.mark.parametrize("shares", [(-0.1, 0), (0, -1), (0.5, 0.5), (float("nan"), 0)])
def test_shares_leave_something_to_train_on(shares):
    with pytest.raises(ValueError, match="shares"):
        Shares(*shares)
