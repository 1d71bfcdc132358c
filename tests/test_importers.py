import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fer_core.errors import FaceSetError
from fer_core.importers import affectnet, ferplus, folder, rafdb
from fer_core.importers.samples import Sample
from fer_core.labels import AFFECTNET_CODES, EXPRESSIONS, RAFDB_CODES

Importer = Callable[[Path], Iterator[Sample]]


def write(file: Path, content: bytes | str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)


def refused(importer: Importer, source: Path, match: str) -> None:
    with pytest.raises(FaceSetError, match=match) as caught:
        list(importer(source))
    assert "\n" not in str(caught.value)


def by_id(found: Iterator[Sample]) -> dict[str, Sample]:
    every = list(found)
    assert len({(s.split, s.sample_id) for s in every}) == len(every)
    return {sample.sample_id: sample for sample in every}


def zip_of(place: Path, prefix: str = "") -> None:
    """Replace a folder by a zip of the same name."""
    with zipfile.ZipFile(place.with_name(place.name + ".zip"), "w") as archive:
        for file in sorted(place.iterdir()):
            archive.write(file, prefix + file.name)
            file.unlink()
    place.rmdir()


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
        (HEADER + "\nTraining,fer9999999.png,1,0,0,0,0,0,0,0,0,0", "none of the pictures"),
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
    refused(folder.samples, tmp_path, "no expression is called 'joyful'")


def test_folder_of_no_split(tmp_path: Path) -> None:
    write(tmp_path / "train/fear/a.png", "x")
    write(tmp_path / "val/fear/a.png", "x")
    refused(folder.samples, tmp_path, "no split is called 'val'")


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

    def denied(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    assert len(list(folder.samples(tmp_path))) == 1
    monkeypatch.setattr(Path, "read_bytes", denied)
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
    refused(rafdb.samples, rafdb_set, "none of the pictures")
    write(rafdb_set / "EmoLabel" / "list_patition_label.txt", b"\xff\xfe\x00")
    refused(rafdb.samples, rafdb_set, "not text")
    (rafdb_set / "EmoLabel" / "list_patition_label.txt").unlink()
    refused(rafdb.samples, rafdb_set, "no .*list_patition_label.txt")


# AffectNet

COLUMNS = ",".join(affectnet.COLUMNS)


def affectnet_line(name: str, code: int | str) -> str:
    return f"{name},1,2,100,100,10.5;20.5;30,{code},-0.5,0.25"


@pytest.fixture
def affectnet_tables(tmp_path: Path) -> Path:
    lines = [affectnet_line(f"1/{code:02d}.jpg", code) for code in range(11)]
    write(tmp_path / "training.csv", "\n".join([COLUMNS, *lines, affectnet_line("1/absent.jpg", 1)]))
    write(tmp_path / "validation.csv", "\n".join([COLUMNS, affectnet_line("2/aa.JPG", 7), affectnet_line("2/bb.png", 0)]) + "\n")
    for name in (*(f"1/{code:02d}.jpg" for code in range(11)), "2/aa.JPG", "2/bb.png"):
        write(tmp_path / "Manually_Annotated_Images" / name, name)
    return tmp_path


def expected(code: int) -> str:
    return AFFECTNET_CODES[code]


def test_affectnet_tables(affectnet_tables: Path) -> None:
    found = by_id(affectnet.samples(affectnet_tables))
    assert {name: s.label for name, s in found.items() if s.split == "train"} == {f"1/{code:02d}.jpg": expected(code) for code in range(8)}
    assert {name: s.label for name, s in found.items() if s.split == "valid"} == {"2/aa.JPG": "contempt", "2/bb.png": "neutral"}
    assert found["2/bb.png"].data == b"2/bb.png"


def test_affectnet_of_seven(affectnet_tables: Path) -> None:
    found = by_id(affectnet.samples(affectnet_tables, classes=7))
    assert {sample.label for sample in found.values()} == set(EXPRESSIONS) - {"contempt"}
    assert len(found) == 8


def test_affectnet_lists_in_their_own_folder_and_without_header(affectnet_tables: Path) -> None:
    before = by_id(affectnet.samples(affectnet_tables))
    for name in ("training.csv", "validation.csv"):
        text = (affectnet_tables / name).read_text()
        write(affectnet_tables / "Manually_Annotated_file_lists" / name, text.removeprefix(COLUMNS + "\n"))
        (affectnet_tables / name).unlink()
    assert by_id(affectnet.samples(affectnet_tables)) == before
    (affectnet_tables / "Manually_Annotated_file_lists" / "training.csv").unlink()
    assert {sample.split for sample in affectnet.samples(affectnet_tables)} == {"valid"}


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ("", "lacks the columns subDirectory_filePath, expression"),
        ("subDirectory_filePath,valence\n", "lacks the columns expression"),
        (COLUMNS + "\n" + affectnet_line("1/00.jpg", "happy"), "line 2 of .* no expression code"),
        (COLUMNS + "\n" + affectnet_line("1/00.jpg", 11), "line 2 of"),
        (COLUMNS + "\n1/00.jpg,1", "line 2 of"),
        (b"\xff\xfe\x00\x01", "not a table"),
        (COLUMNS + "\n" + affectnet_line("9/99.jpg", 1), "none of the annotated pictures"),
    ],
)
def test_affectnet_wrong_table(affectnet_tables: Path, table: bytes | str, match: str) -> None:
    write(affectnet_tables / "training.csv", table)
    (affectnet_tables / "validation.csv").unlink()
    refused(affectnet.samples, affectnet_tables, match)


def test_affectnet_tables_without_pictures(affectnet_tables: Path) -> None:
    (affectnet_tables / "Manually_Annotated_Images").rename(affectnet_tables / "pictures")
    refused(affectnet.samples, affectnet_tables, "no folder .*Manually_Annotated_Images")


@pytest.fixture
def affectnet_arrays(tmp_path: Path) -> Path:
    for place in ("train_set", "val_set"):
        for code in range(11):
            write(tmp_path / place / "images" / f"{code}.jpg", f"{place}{code}")
            (tmp_path / place / "annotations").mkdir(exist_ok=True)
            value = np.array(str(code)) if place == "train_set" else np.array([code])  # text, as the official files have it, or a number
            np.save(tmp_path / place / "annotations" / f"{code}_exp.npy", value)
            np.save(tmp_path / place / "annotations" / f"{code}_val.npy", np.array(0.5))
    return tmp_path


def test_affectnet_arrays(affectnet_arrays: Path) -> None:
    (affectnet_arrays / "train_set" / "images" / "3.jpg").unlink()
    found = list(affectnet.samples(affectnet_arrays))
    train = {s.sample_id: s.label for s in found if s.split == "train"}
    assert train == {f"{code}.jpg": expected(code) for code in range(8) if code != 3}
    assert {s.sample_id: s.label for s in found if s.split == "valid"} == {f"{code}.jpg": expected(code) for code in range(8)}
    assert {s.data for s in found if s.sample_id == "1.jpg"} == {b"train_set1", b"val_set1"}
    assert len(list(affectnet.samples(affectnet_arrays, 7))) == 13


class Trap:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.write_text, (self.file, "executed"))


def test_affectnet_pickles_are_refused_and_not_executed(affectnet_arrays: Path, tmp_path: Path) -> None:
    file = affectnet_arrays / "val_set" / "annotations" / "0_exp.npy"
    trap = Trap(tmp_path / "executed")
    file.write_bytes(pickle.dumps(trap))
    refused(affectnet.samples, affectnet_arrays, "not a plain NumPy file")
    np.save(file, np.array([trap], dtype=object), allow_pickle=True)
    refused(affectnet.samples, affectnet_arrays, "not a plain NumPy file")
    assert not trap.file.exists()


@pytest.mark.parametrize("value", [np.array([1, 2]), np.array([], int), np.array("happy"), np.array(-1), np.array(11), np.array(1.5)])
def test_affectnet_wrong_value(affectnet_arrays: Path, value: np.ndarray) -> None:
    np.save(affectnet_arrays / "train_set" / "annotations" / "0_exp.npy", value)
    refused(affectnet.samples, affectnet_arrays, "0_exp.npy")


def test_affectnet_arrays_of_another_kind(affectnet_arrays: Path) -> None:
    file = affectnet_arrays / "train_set" / "annotations" / "0_exp.npy"
    file.write_bytes(b"")
    refused(affectnet.samples, affectnet_arrays, "not a plain NumPy file")
    with file.open("wb") as stream:
        np.savez(stream, code=1)
    refused(affectnet.samples, affectnet_arrays, "not a plain NumPy file")


def test_affectnet_arrays_without_pictures(affectnet_arrays: Path) -> None:
    (affectnet_arrays / "val_set" / "images").rename(affectnet_arrays / "val_set" / "faces")
    refused(affectnet.samples, affectnet_arrays, "no folder .*images")
