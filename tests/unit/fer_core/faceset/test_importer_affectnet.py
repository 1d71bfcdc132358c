import pickle
from pathlib import Path

import numpy as np
import pytest

from fer_core.faceset.importers import affectnet
from fer_core.labels import AFFECTNET_CODES, EXPRESSIONS
from tests.support.importer_layouts import by_id, refused, write

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
        (COLUMNS + "\n" + affectnet_line("9/99.jpg", 1), "none of the annotated images"),
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
