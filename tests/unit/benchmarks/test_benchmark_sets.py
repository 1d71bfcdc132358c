"""What the benchmarks make of their material; their figures are their own business."""

import csv
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.accuracy.ablation import FULL, Cell, cells
from benchmarks.accuracy.end_to_end import Label, _scored
from benchmarks.accuracy.muxspace import write_folder, write_rafdb
from fer_core.faceset import read_split
from fer_core.faceset.importers import folder, rafdb
from fer_core.labels import EXPRESSIONS
from fer_core.training.train import Sources, train
from tests.support.made_faces import QUICK, encoded, faces, made_faceset


@pytest.fixture(scope="module")
def muxspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen pictures of eight people in muxspace's layout."""
    root = tmp_path_factory.mktemp("muxspace")
    with zipfile.ZipFile(root / "images.zip", "w") as archive, (root / "labels.csv").open("w", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(["image", "expression", "identity"])
        for index, picture in enumerate(faces(16)):
            archive.writestr(f"images/person{index:02d}.jpg", encoded(picture, ".jpg"))
            rows.writerow([f"person{index:02d}.jpg", EXPRESSIONS[index % 8], f"person {index % 8}"])
        rows.writerow(["nowhere.jpg", "fear", "person 0"])
    return root


def test_folder_set_keeps_identities_apart(muxspace: Path, tmp_path: Path) -> None:
    assert write_folder(muxspace, tmp_path) == 16
    found = list(folder.samples(tmp_path))
    assert len(found) == 16
    people = {split: {sample.group for sample in found if sample.split == split} for split in ("train", "test")}
    assert not people["train"] & people["test"]
    assert len(people["train"] | people["test"]) == 8


def test_rafdb_layout_has_no_contempt(muxspace: Path, tmp_path: Path) -> None:
    assert write_rafdb(muxspace, tmp_path) == 14
    found = list(rafdb.samples(tmp_path))
    assert {sample.label for sample in found} == set(EXPRESSIONS[:7])


def test_cells() -> None:
    assert len(cells("all", 3)) == 45
    assert [cell.features for cell in cells("full", 1)] == [FULL] * 5
    cross = cells("cross", 1)
    assert len(cross) == 8
    assert Cell("center_cosine", FULL, 0) in cross
    assert len({cell.name for cell in cells("all", 3)}) == 45


def test_pictures_without_a_face_count_as_wrong(tmp_path: Path) -> None:
    for name in ("happy/a.png", "happy/b.png", "anger/c.png", "anger/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    said = {"happy/a.png": "happiness", "anger/c.png": "fear", "anger/d.png": "anger"}
    labels = {
        str(tmp_path / file): Label(tuple(0.9 if name == expression else 0.1 / 7 for name in EXPRESSIONS), expression == "fear")
        for file, expression in said.items()
    }
    scored = _scored(tmp_path, labels)
    assert (scored["pictures"], scored["without_face"], scored["accuracy"]) == (4, 1, 0.5)
    assert scored["recall"] == {"anger": 0.5, "happiness": 0.5}
    assert scored["accuracy_where_found"] == pytest.approx(0.6667, abs=1e-4)
    assert scored["balanced_seven"] == 0.5
    assert (scored["kept"], scored["right_where_kept"]) == (0.5, 1.0)
    assert scored["ece"] == pytest.approx(abs(0.9 - 2 / 3), abs=1e-3)
    low, high = scored["intervals"]["accuracy"]
    assert low <= 2 / 3 <= high
    assert _scored(tmp_path, {})["accuracy"] == 0.0


def test_a_card_is_written_for_people(tmp_path: Path) -> None:
    faceset = made_faceset(tmp_path / "set", {"train": 64, "valid": 16, "test": 16})
    model = train(Sources((faceset,)), tmp_path, replace(QUICK, epochs=1), "cpu")
    command = [sys.executable, "-m", "benchmarks.accuracy.model_card", str(model.path), str(faceset), "--unseen", str(faceset)]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], env={"PYTHONPATH": "."}, check=True, capture_output=True, text=True)
    card = json.loads((model.path / "card.json").read_text())
    assert card["digest"] == model.digest
    assert card["figures"]["majority"]["n"] == len(read_split(faceset, "valid"))
    assert json.loads(done.stdout)["argmax"] == card["figures"]["argmax"]
    page = (model.path / "CARD.md").read_text()
    assert f"{card['figures']['majority']['accuracy']:.2%}" in page
    assert f"{card['unseen']['accuracy']:.2%}" in page
    assert "{" not in page
