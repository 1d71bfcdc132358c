import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from fer_core.errors import StoreError
from flows.cli import evaluate
from tests.support.made_faces import made_faceset, small_model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    made_faceset(folder / "set", {"valid": 20})
    small_model(folder / "model")
    return folder


def called(made: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    evaluate.add_parser(parser.add_subparsers())
    args = parser.parse_args(["evaluate", str(made / "set"), "--split", "valid", "--model", str(made / "model"), *words])
    code: int = args.run(args)
    return code


@pytest.mark.parametrize("protocol", ["majority", "argmax"])
def test_plots(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], protocol: str) -> None:
    folder = tmp_path / "new" / "plots"
    assert called(made, "--json", "--protocol", protocol, "--plots", str(folder)) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["plots"] == {name: str(folder / f"{name}.png") for name in ("confusion", "reliability")}
    assert sorted(file.name for file in folder.iterdir()) == ["confusion.png", "reliability.png"]
    for file in said["plots"].values():
        with Image.open(file) as picture:
            assert picture.format == "PNG"
    assert called(made, "--json", "--protocol", protocol) == 0
    without = json.loads(capsys.readouterr().out)
    assert without == {name: value for name, value in said.items() if name != "plots"}


def test_people_are_told_where_the_pictures_are(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(made, "--plots", str(tmp_path)) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-2:] == [str(tmp_path / "confusion.png"), str(tmp_path / "reliability.png")]
    assert called(made) == 0
    plain = capsys.readouterr().out
    assert out.startswith(plain)
    assert ".png" not in plain


def test_an_unwritable_folder_is_said_before_the_work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_core.evaluation.evaluate.evaluate", lambda *_: pytest.fail("scored first"))
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot write plots to"):
        called(made, "--plots", str(tmp_path / "file"))


def test_without_plots_no_matplotlib(made: Path) -> None:
    code = """
import sys
from flows.cli.main import main
code = main(["evaluate", sys.argv[1], "--split", "valid", "--model", sys.argv[2], "--json"])
sys.exit(code or "matplotlib" in sys.modules or "fer_core.evaluation.plots" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, made / "set", made / "model"], cwd=Path(__file__).parents[2], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
