import os
from pathlib import Path

import pytest

from fer_core.faceset.importers import affectnet, ferplus, folder, rafdb
from fer_core.faceset.importers.samples import Sample
from fer_core.labels import EXPRESSIONS, RAFDB_CODES
from tests.support.importer_layouts import Importer, by_id, refused, write, zip_of


@pytest.mark.parametrize("importer", [ferplus.samples, rafdb.samples, affectnet.samples, folder.samples])
def test_nothing_there(importer: Importer, tmp_path: Path) -> None:
    refused(importer, tmp_path, "layout|not a folder set")
    refused(importer, tmp_path / "absent", "layout|no such folder")


# FER+

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
LINES = [
    "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0",
    "Training,,0,0,0,0,0,0,0,0,0,10",
    "Training,fer0000002.png,0,10,0,0,0,0,0,0,0,0",
    "PublicTest,fer0028710.png,1,2,3,4,0,0,0,0,0,0",
    "PrivateTest,fer0032299.png,0,0,0,0,0,0,9,0,1,0",
]


@pytest.fixture
def ferplus_set(tmp_path: Path) -> Path:
    write(tmp_path / "fer2013new.csv", "\r\n".join([HEADER, *LINES]) + "\r\n")
    for name, place in (("fer0000000.png", "Train"), ("fer0000002.png", "Train"), ("fer0028710.png", "Valid"), ("fer0032299.png", "Test")):
        write(tmp_path / f"FER2013{place}" / name, name)
    return tmp_path


@pytest.mark.parametrize("zipped", [None, "", "FER2013Train/"])
def test_ferplus(ferplus_set: Path, zipped: str | None) -> None:
    if zipped is not None:
        zip_of(ferplus_set / "FER2013Train", zipped)
    found = by_id(ferplus.samples(ferplus_set))
    assert {name: sample.split for name, sample in found.items()} == {
        "fer0000000.png": "train",
        "fer0000002.png": "train",
        "fer0028710.png": "valid",
        "fer0032299.png": "test",
    }
    assert found["fer0000000.png"].votes == (4, 0, 0, 1, 3, 2, 0, 0, 0, 0)
    assert all(sample.data == name.encode() and sample.label is None for name, sample in found.items())


def test_ferplus_absent_split_and_pictures(ferplus_set: Path) -> None:
    (ferplus_set / "FER2013Test" / "fer0032299.png").unlink()
    (ferplus_set / "FER2013Test").rmdir()
    (ferplus_set / "FER2013Train" / "fer0000002.png").unlink()
    write(ferplus_set / "FER2013Train" / "unnamed.png", "not in the table")
    assert sorted(by_id(ferplus.samples(ferplus_set))) == ["fer0000000.png", "fer0028710.png"]


def test_ferplus_a_picture_in_another_splits_folder_is_not_taken(ferplus_set: Path) -> None:
    (ferplus_set / "FER2013Valid" / "fer0028710.png").rename(ferplus_set / "FER2013Train" / "fer0028710.png")
    assert "fer0028710.png" not in by_id(ferplus.samples(ferplus_set))


def test_ferplus_table_with_a_byte_order_mark(ferplus_set: Path) -> None:
    table = ferplus_set / "fer2013new.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert len(by_id(ferplus.samples(ferplus_set))) == 4


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ("", "lacks the columns Usage"),
        (HEADER.replace(",NF", "") + "\n", "lacks the columns NF"),
        (HEADER + "\n" + LINES[0].replace("4", "many"), "not a whole number"),
        (HEADER + "\nTraining,fer0000000.png,4,0", "not a whole number"),
        (b"\xff\xfe\x00U", "not a table"),
        (HEADER.encode() + b"\n\xff\xff\xff", "not a table"),
        (HEADER + "\nTraining,fer9999999.png,1,0,0,0,0,0,0,0,0,0", "none of the images"),
    ],
)
def test_ferplus_wrong_table(ferplus_set: Path, table: bytes | str, match: str) -> None:
    write(ferplus_set / "fer2013new.csv", table)
    refused(ferplus.samples, ferplus_set, match)


def test_ferplus_without_pictures(tmp_path: Path) -> None:
    write(tmp_path / "fer2013new.csv", HEADER + "\n")
    refused(ferplus.samples, tmp_path, "none of FER2013Train")


def test_damaged_archives(ferplus_set: Path) -> None:
    zip_of(ferplus_set / "FER2013Train")
    archive = ferplus_set / "FER2013Train.zip"
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b"fer0000000.pngfer0000000.png", b"fer0000000.pngfer00x0000.png"))  # the content of a stored member
    refused(ferplus.samples, ferplus_set, "cannot read fer0000000.png")
    archive.write_bytes(data[:-30])
    refused(ferplus.samples, ferplus_set, "damaged archive")


# Folders


@pytest.mark.parametrize("split", ["", "train", "valid", "test"])
def test_folder(tmp_path: Path, split: str) -> None:
    root = tmp_path / split
    for name in ("Happy/a.jpg", "happiness/b.png", "angry/deep/er/c.bmp", "neutral/.DS_Store", ".cache/d.png", ".hidden.png"):
        write(root / name, name)
    write(tmp_path / "README.md", "a file beside the folders")
    found = by_id(folder.samples(tmp_path))
    prefix = f"{split}/" if split else ""
    assert {name: sample.label for name, sample in found.items()} == {
        f"{prefix}Happy/a.jpg": "happiness",
        f"{prefix}happiness/b.png": "happiness",
        f"{prefix}angry/deep/er/c.bmp": "anger",
    }
    assert {sample.split for sample in found.values()} == {split or "train"}
    assert all(sample.votes is None for sample in found.values())
    assert found[f"{prefix}Happy/a.jpg"].data == b"Happy/a.jpg"


def test_folder_several_splits(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        write(tmp_path / split / "fear" / "a.png", split)
    assert [sample.split for sample in folder.samples(tmp_path)] == ["train", "valid", "test"]


@pytest.mark.parametrize("place", ["joyful/a.png", "train/joyful/a.png"])
def test_folder_of_no_expression(tmp_path: Path, place: str) -> None:
    write(tmp_path / "train/fear/a.png" if place.startswith("train") else tmp_path / "fear/a.png", "x")
    write(tmp_path / place, "x")
    refused(folder.samples, tmp_path, "unknown expression 'joyful'")


def test_folder_of_no_split(tmp_path: Path) -> None:
    write(tmp_path / "train/fear/a.png", "x")
    write(tmp_path / "val/fear/a.png", "x")
    refused(folder.samples, tmp_path, "unknown split 'val'")


def test_folders_that_are_empty(tmp_path: Path) -> None:
    (tmp_path / "fear").mkdir()
    refused(folder.samples, tmp_path, "not a folder set")


def identified(folder_set: Path, table: str | bytes) -> Path:
    for name in ("train/fear/a.png", "train/fear/b,c.png", "test/anger/d.png"):
        write(folder_set / name, name)
    write(folder_set / "identities.csv", table)
    return folder_set


def test_folder_with_identities(tmp_path: Path) -> None:
    lines = [
        "\ufeffage,file,identity",
        "3,train/fear/a.png, anna ",
        '4,"train/fear/b,c.png",',
        "5,test/anger/d.png,anna",
        "6,absent.png,bert",
    ]
    found = by_id(folder.samples(identified(tmp_path, "\r\n".join(lines))))
    assert {name: s.group for name, s in found.items()} == {
        "train/fear/a.png": "anna",
        "train/fear/b,c.png": None,
        "test/anger/d.png": "anna",
    }


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ("", "lacks the columns file, identity"),
        ("file,name\n", "lacks the columns identity"),
        ("file,identity\ntrain/fear/a.png,anna\n", r"no line for train/fear/b,c\.png"),
        ("file,identity\na.png,anna\n", "no line for train/fear/a.png"),  # a path from somewhere else
        ("file,identity\na,anna\na,bert\n", "gives a two identities"),
        (b"\xff\xfe\x00", "is not a table"),
    ],
)
def test_folder_with_wrong_identities(tmp_path: Path, table: str | bytes, match: str) -> None:
    refused(folder.samples, identified(tmp_path, table), match)


def test_folder_short_lines_have_no_identity(tmp_path: Path) -> None:
    table = 'file,identity\ntrain/fear/a.png\n"train/fear/b,c.png"\ntest/anger/d.png,anna\n'
    assert [sample.group for sample in folder.samples(identified(tmp_path, table))] == [None, None, "anna"]


def test_folder_names_that_are_not_text(tmp_path: Path) -> None:
    place = tmp_path / "fear"
    place.mkdir()
    try:
        (place / os.fsdecode(b"\xff.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes text only")
    refused(folder.samples, tmp_path, "not UTF-8")


def test_a_picture_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "fear" / "a.png", "x")
    (tmp_path / "fear" / "b.png").symlink_to(tmp_path / "fear" / "nowhere.png")  # a link to nothing is no file

    def denied(self: Path, *_: object) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    assert len(list(folder.samples(tmp_path))) == 1
    monkeypatch.setattr(Path, "open", denied)
    refused(folder.samples, tmp_path, r"cannot read .*a\.png .permission denied.")


# RAF-DB


@pytest.fixture
def rafdb_set(tmp_path: Path) -> Path:
    lines = [f"train_{code:05d}.jpg {code}" for code in RAFDB_CODES] + ["test_0001.jpg 4", "test_0002.jpg 7", ""]
    write(tmp_path / "EmoLabel" / "list_patition_label.txt", "\n".join(lines))
    for line in lines[:-2]:
        name = line.split()[0].replace(".jpg", "_aligned.jpg")
        write(tmp_path / "Image" / "aligned" / name, name)
    return tmp_path


@pytest.mark.parametrize("zipped", [None, "aligned/"])
def test_rafdb(rafdb_set: Path, zipped: str | None) -> None:
    if zipped is not None:
        zip_of(rafdb_set / "Image" / "aligned", zipped)
    found = by_id(rafdb.samples(rafdb_set))
    assert len(found) == 8  # the picture of test_0002 is absent
    assert {found[f"train_{code:05d}.jpg"].label for code in RAFDB_CODES} == set(EXPRESSIONS) - {"contempt"}
    assert found["train_00005.jpg"].label == "sadness"
    assert found["test_0001.jpg"] == Sample("test_0001.jpg", "test", "happiness", None, None, b"test_0001_aligned.jpg")
    assert {sample.split for sample in found.values()} == {"train", "test"}


@pytest.mark.parametrize(
    "line", ["train_00001.jpg 8", "train_00001.jpg 0", "train_00001.jpg", "00001.jpg 3", "train_00001.jpg 3 4", "train_1.jpg x"]
)
def test_rafdb_wrong_line(rafdb_set: Path, line: str) -> None:
    write(rafdb_set / "EmoLabel" / "list_patition_label.txt", f"train_00001.jpg 1\n{line}\n")
    refused(rafdb.samples, rafdb_set, "line 2 of")


def test_rafdb_wrong_layout(rafdb_set: Path) -> None:
    (rafdb_set / "Image" / "aligned").rename(rafdb_set / "Image" / "original")
    refused(rafdb.samples, rafdb_set, "no folder .*aligned")
    (rafdb_set / "Image" / "aligned").mkdir()
    refused(rafdb.samples, rafdb_set, "none of the images")
    write(rafdb_set / "EmoLabel" / "list_patition_label.txt", b"\xff\xfe\x00")
    refused(rafdb.samples, rafdb_set, "not text")
    (rafdb_set / "EmoLabel" / "list_patition_label.txt").unlink()
    refused(rafdb.samples, rafdb_set, "no .*list_patition_label.txt")
