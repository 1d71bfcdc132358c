import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from fer_core.faceset import face_workers, read_card, read_split
from fer_core.faceset.importers import affectnet
from fer_core.labels import EXPRESSIONS
from flows.cli import main
from tests.support.made_faces import encoded, faces, made_faceset, small_model
from tests.unit.fer_core.faceset.test_prepare import Here

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """`ferflow dataset ...` in this process: exit code, standard output, standard error."""
    monkeypatch.setattr(main.signals, "listen", lambda: None)
    monkeypatch.setattr(face_workers, "ProcessPoolExecutor", Here)
    threads = cv2.getNumThreads()

    def call(*words: object) -> tuple[int, str, str]:
        try:
            code = main.main([str(word) for word in words])
        except SystemExit as error:
            code = int(error.code or 0)
        return code, *capsys.readouterr()

    yield call
    cv2.setNumThreads(threads)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Eight faces; the last stands in both splits, and anna is in both."""
    lines = ["file,identity"]
    for index, picture in enumerate(faces(8)):
        for split in ("train", "valid") if index == 7 else (("valid",) if index == 6 else ("train",)):
            place = tmp_path / "source" / split / EXPRESSIONS[index]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{index}.png").write_bytes(encoded(picture))
            lines.append(f"{split}/{EXPRESSIONS[index]}/{index}.png,{'anna' if index in (5, 6) else ''}")
    (tmp_path / "source" / "train" / "fear").mkdir(exist_ok=True)
    (tmp_path / "source" / "train" / "fear" / "broken.png").write_bytes(b"broken")
    lines.append("train/fear/broken.png,")
    (tmp_path / "source" / "identities.csv").write_text("\n".join(lines))
    return tmp_path / "source"


def test_import_says_what_is_in_the_set(run: Run, source: Path, tmp_path: Path) -> None:
    code, out, err = run("dataset", "import", "folder", source, "--to", tmp_path / "set", "--detector", "builtin")
    assert code == 0, err
    head, train, valid, blank, *said = out.splitlines()
    assert head.split() == ["faces", *(name for name in EXPRESSIONS if name != "disgust")]  # anna's was the only one
    assert train.split() == ["train", "5", "1", "1", "1", "1", "1", "0", "0"]
    assert valid.split() == ["valid", "2", "0", "0", "0", "0", "0", "1", "1"]
    assert blank == ""
    assert said[0] == "1 training images left out: they are also in another split"
    assert said[1] == "1 more training images left out: they show a person who is also in another split"
    assert said[2] == "1 images left out: they cannot be decoded"
    assert "builtin" in said[3]
    assert all(line.endswith(" elapsed") for line in err.splitlines())  # a busy machine may take long enough for progress
    card = read_card(tmp_path / "set")
    assert (card.straddling_removed, card.duplicates_removed, card.undecodable) == (1, 1, 1)


def test_raw_then_prepare_is_import(run: Run, source: Path, tmp_path: Path) -> None:
    once = run("dataset", "import", "folder", source, "--to", tmp_path / "once", "--detector", "builtin", "--json")
    raw = run("dataset", "import", "folder", source, "--to", tmp_path / "raw", "--raw")
    assert raw[0] == 0, raw[2]
    assert (
        raw[1].splitlines()[-1] == f"not aligned yet, duplicates not removed yet: ferflow dataset prepare {tmp_path / 'raw'} --to FACESET"
    )
    later = run("dataset", "prepare", tmp_path / "raw", "--to", tmp_path / "later", "--detector", "builtin", "--workers", 1, "--json")
    assert (once[0], later[0]) == (0, 0)
    assert json.loads(once[1]) == json.loads(later[1])
    said = json.loads(later[1])
    assert said["counts"] == {"train": 5, "valid": 2}
    assert sum(said["per_class"]["train"].values()) == 5
    assert set(said["digests"]) == {"train", "valid"}
    assert read_split(tmp_path / "later", "valid").ids == ("valid/contempt/7.png", "valid/fear/6.png")


def test_votes_say_how_they_are_counted(run: Run, tmp_path: Path) -> None:
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    (tmp_path / "src" / "FER2013Train").mkdir(parents=True)
    (tmp_path / "src" / "fer2013new.csv").write_text(f"{header}\nTraining,a.png,3,3,2,0,0,0,0,0,2,0\nTraining,b.png,0,0,0,0,0,0,0,0,0,10\n")
    for name in "ab":
        (tmp_path / "src" / "FER2013Train" / f"{name}.png").write_bytes(b"any")
    code, out, _ = run("dataset", "import", "ferplus", tmp_path / "src", "--to", tmp_path / "raw", "--raw")
    assert code == 0
    assert out.splitlines()[1].split() == ["train", "2", "1", *"0000000"]
    assert "by most votes" in out


@pytest.mark.parametrize(("words", "classes"), [([], 8), (["--classes", "8"], 8), (["--classes", "7"], 7)])
def test_affectnet_with_and_without_contempt(run: Run, tmp_path: Path, words: list[str], classes: int) -> None:
    lines = [",".join(affectnet.COLUMNS), *(f"1/{code}.jpg,1,2,3,4,5;6,{code},0,0" for code in range(9))]
    pictures = tmp_path / "src" / affectnet.IMAGES / "1"
    pictures.mkdir(parents=True)
    (tmp_path / "src" / "training.csv").write_text("\n".join(lines))
    for code in range(9):
        (pictures / f"{code}.jpg").write_bytes(b"any")
    code, out, err = run("dataset", "import", "affectnet", tmp_path / "src", "--to", tmp_path / "raw", "--raw", "--json", *words)
    assert code == 0, err
    assert json.loads(out)["classes"] == list(EXPRESSIONS[:classes])
    assert json.loads(out)["counts"] == {"train": classes}


WRONG_USE = [
    (["import", "ferplus", "{source}", "--to", "{to}", "--classes", "7"], "--classes is for affectnet"),
    (["import", "folder", "{source}", "--to", "{to}", "--classes", "8"], "--classes is for affectnet"),
    (["import", "affectnet", "{source}", "--to", "{to}", "--classes", "9"], "--classes"),
    (["import", "folder", "{source}", "--to", "{to}", "--raw", "--detector", "builtin"], "dataset prepare"),
    (["import", "folder", "{source}", "--to", "{to}", "--workers", "0"], "--workers"),
    (["import", "folder", "{source}", "--to", "{source}/set"], "inside the source"),
    (["import", "folder", "{source}", "--to", "{to}", "--detector", "magic"], "unknown detector"),
    (["import", "celeba", "{source}", "--to", "{to}"], "invalid choice"),
    (["import", "folder", "{source}"], "--to"),
    (["prepare", "{raw}", "--to", "{to}", "--workers", "-1"], "--workers"),
    (["prepare", "{raw}", "--to", "{to}", "--detector", "magic"], "unknown detector"),
    (["prepare", "{raw}", "--to", "{to}", "--classes", "7"], "--classes"),
]
FAILURES = [
    (["import", "folder", "{tmp}/absent", "--to", "{to}"], "no such folder"),
    (["import", "ferplus", "{source}", "--to", "{to}"], "not FER+'s layout"),
    (["import", "rafdb", "{source}", "--to", "{to}"], "not RAF-DB's layout"),
    (["import", "affectnet", "{source}", "--to", "{to}"], "not AffectNet's layout"),
    (["import", "affectnet", "{source}", "--to", "{to}", "--classes", "7", "--raw"], "not AffectNet's layout"),
    (["import", "folder", "{tmp}", "--to", "{tmp}/../other"], "unknown expression"),
    (["import", "folder", "{source}", "--to", "{raw}"], "not empty"),
    (["import", "folder", "{source}", "--to", "{source}/../file"], "cannot write a face set"),
    (["import", "folder", "{source}", "--to", "{to}", "--detector", "yunet:{tmp}/none.onnx"], "detector file not found"),
    (["prepare", "{tmp}/absent", "--to", "{to}"], "not a face set"),
    (["prepare", "{source}", "--to", "{to}"], "not a face set"),
    (["prepare", "{aligned}", "--to", "{to}"], "aligned already"),
    (["prepare", "{raw}", "--to", "{raw}"], "not empty"),
    (["prepare", "{raw}", "--to", "{aligned}"], "not empty"),
]


@pytest.mark.parametrize(("words", "told", "code"), [(*case, 2) for case in WRONG_USE] + [(*case, 1) for case in FAILURES])
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    run: Run, source: Path, tmp_path: Path, words: list[str], told: str, code: int
) -> None:
    assert run("dataset", "import", "folder", source, "--to", tmp_path / "raw", "--raw")[0] == 0
    made_faceset(tmp_path / "aligned", {"train": 1})
    (tmp_path / "file").write_text("")
    names = {"source": source, "to": tmp_path / "set", "tmp": tmp_path, "raw": tmp_path / "raw", "aligned": tmp_path / "aligned"}
    given, out, err = run("dataset", *(word.format(**names) for word in words))
    assert given == code, err
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("ferflow: ")
    assert told in err
    assert not (tmp_path / "set").exists()
    assert read_card(tmp_path / "raw").raw


def test_a_raw_set_is_refused_by_evaluate(run: Run, source: Path, tmp_path: Path) -> None:
    run("dataset", "import", "folder", source, "--to", tmp_path / "raw", "--raw")
    model = small_model(tmp_path / "model").path
    code, out, err = run("evaluate", tmp_path / "raw", "--split", "valid", "--model", model)
    assert (code, out) == (1, "")
    assert "run `ferflow dataset prepare" in err
    assert err.count("\n") == 1


def test_the_command_starts_light() -> None:
    heavy = {"torch", "cv2", "prefect", "distributed", "pyarrow", "numpy", "pydantic"}
    code = f"import sys, flows.cli.dataset; print({heavy} & sys.modules.keys() or 'light')"
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert ended.stdout.strip() == "light"
