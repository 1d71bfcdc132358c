import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from fer_core.errors import ModelError, StoreError, UsageError
from flows.cli import evaluate
from tests.support.made_faces import made_faceset, small_model, small_model_with_prior


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    made_faceset(folder / "set", {"valid": 20})
    small_model(folder / "model")
    return folder


def called(made: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    evaluate.add_parser(parser.add_subparsers())
    more = [word for word in words[:1] if not word.startswith("-")]
    sets = [str(made / "set"), *more]
    args = parser.parse_args(["evaluate", *sets, "--split", "valid", "--model", str(made / "model"), *words[len(more) :]])
    code: int = args.run(args)
    return code


@pytest.mark.parametrize("protocol", ["majority", "argmax"])
def test_plots(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], protocol: str) -> None:
    folder = tmp_path / "new" / "plots"
    assert called(made, "--json", "--protocol", protocol, "--plots", str(folder)) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["plots"] == {name: str(folder / f"{name}.png") for name in ("confusion", "reliability", "risk_coverage")}
    assert sorted(file.name for file in folder.iterdir()) == ["confusion.png", "reliability.png", "risk_coverage.png"]
    for file in said["plots"].values():
        with Image.open(file) as picture:
            assert picture.format == "PNG"
    assert called(made, "--json", "--protocol", protocol) == 0
    without = json.loads(capsys.readouterr().out)
    assert without == {name: value for name, value in said.items() if name != "plots"}


def test_people_are_told_where_the_pictures_are(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(made, "--plots", str(tmp_path)) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-3:] == [str(tmp_path / f"{name}.png") for name in ("confusion", "reliability", "risk_coverage")]
    assert called(made) == 0
    plain = capsys.readouterr().out
    assert out.startswith(plain)
    assert ".png" not in plain


def test_several_sets_make_one_table(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "set").symlink_to(made / "set")
    assert called(made, str(tmp_path / "set"), "--json", "--plots", str(tmp_path / "plots")) == 0
    said = json.loads(capsys.readouterr().out)
    assert list(said) == ["sets"]
    assert list(said["sets"]) == ["set", "set-2"]
    assert said["sets"]["set"]["n"] == said["sets"]["set-2"]["n"] == 20
    assert sorted(folder.name for folder in (tmp_path / "plots").iterdir()) == ["set", "set-2"]
    assert called(made, str(tmp_path / "set")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "prior training" in lines[0]
    assert [line.split()[0] for line in lines[3:]] == ["set", "set-2"]


def test_intervals_hold_the_figures(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(made, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said["intervals"]) == {"accuracy", "balanced_accuracy", "macro_f1", "ece", "aurc"}
    low, high = said["intervals"]["accuracy"]
    assert 0 <= low <= said["accuracy"] <= high <= 1


def test_priors(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_model_with_prior(made / "known")
    found = {}
    file = tmp_path / "prior.json"
    file.write_text(json.dumps([1, 1, 1, 1, 1, 1, 1, 1]))
    for prior in (None, "training", "tempered", "balanced", str(file)):
        words = ["--model", str(made / "known"), "--json", *(["--prior", prior] if prior else [])]
        assert called(made, *words) == 0
        found[prior] = json.loads(capsys.readouterr().out)
    assert [one["prior"] for one in found.values()] == ["tempered", "training", "tempered", "balanced", ",".join(["0.125000"] * 8)]
    assert found[None] == found["tempered"]
    assert found["training"]["ece"] != found["balanced"]["ece"]
    with pytest.raises(UsageError, match="a prior is training"):
        called(made, "--prior", "even")
    with pytest.raises(ModelError, match="use --prior training"):
        called(made, "--prior", "balanced")


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
