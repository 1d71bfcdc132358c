import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.accuracy import robustness
from fer_core.evaluation.corruption import CORRUPTIONS, STRENGTHS, corrupt
from fer_core.evaluation.evaluate import evaluate, majority_classes
from fer_core.faceset import read_split
from fer_core.predict.predictor import load_predictor
from tests.support.made_faces import made_faceset, small_model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("robustness")
    made_faceset(folder / "set", {"valid": 20})
    small_model(folder / "one")
    small_model(folder / "two", temperature=0.9)
    return folder


@pytest.fixture(scope="module")
def run(made: Path) -> Path:
    models = ["--model", str(made / "one"), "--model", str(made / "two"), "--model", str(made / "one")]
    assert robustness.main([str(made / "set"), *models, "--to", str(made / "out"), "--seed", "5"]) == 0
    return made / "out"


def test_every_condition_once_a_model(made: Path, run: Path) -> None:
    report = json.loads((run / "robustness.json").read_text())
    assert (report["split"], report["protocol"], report["seed"]) == ("valid", "majority", 5)
    conditions = [("clean", 0), *((kind, strength) for kind in CORRUPTIONS for strength in range(1, 6))]
    for name in ("one", "two"):
        own = [row for row in report["rows"] if row["model"] == name]
        assert [(row["corruption"], row["strength"]) for row in own] == conditions
        assert [row["amount"] for row in own if row["corruption"] == "blur"] == list(STRENGTHS["blur"].amounts)
        clean = evaluate(made / "set", str(made / name), "valid", "majority")
        assert (own[0]["accuracy"], own[0]["ece"], report["n"]) == (clean.accuracy, clean.ece, clean.n)
    assert len(report["rows"]) == 2 * 26


def test_a_figure_is_what_the_predictor_says_of_the_spoilt_faces(made: Path, run: Path) -> None:
    split = read_split(made / "set", "valid")
    classes, kept = majority_classes(split.votes, split.kind)
    crops = corrupt(split.crops[kept], "noise", 4, 5, [split.ids[i] for i in kept])
    expected = (load_predictor(str(made / "two")).probabilities(crops).argmax(1) == classes).mean()
    rows = json.loads((run / "robustness.json").read_text())["rows"]
    row = next(row for row in rows if (row["model"], row["corruption"], row["strength"]) == ("two", "noise", 4))
    assert row["accuracy"] == expected
    lines = (run / "robustness.md").read_text().splitlines()
    of_two = lines[next(place for place, line in enumerate(lines) if line.startswith("| noise")) + 1].split(" | ")
    assert of_two[1].startswith("two `")
    assert of_two[-3] == f"{expected:.1%}"  # before strength 5 and the mean
    assert sum(line.startswith("| ") for line in lines) == 1 + 2 * 5 + 2  # head, two models a corruption, their means


def test_the_picture_is_there(run: Path) -> None:
    with Image.open(run / "robustness.png") as picture:
        assert picture.size[0] > 1000


def test_even_sample(made: Path) -> None:
    whole = robustness.sample(made / "set", "valid", "majority", None)
    some = robustness.sample(made / "set", "valid", "majority", 4)
    assert len(some.classes) == len(some.split) == 4
    assert set(some.split.ids) < set(whole.split.ids)
    assert [whole.classes[whole.split.ids.index(name)] for name in some.split.ids] == some.classes.tolist()
    places = [whole.split.ids.index(name) for name in some.split.ids]
    assert np.ptp(np.diff(places)) <= 1
    assert len(robustness.sample(made / "set", "valid", "majority", 500).classes) == len(whole.classes)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--model", "gpt"], "unknown model"),
        (["--model", "{made}/one", "--split", "test"], "no split"),
        (["--model", "{made}/one", "--to", "{made}/set/faceset.json"], "cannot write plots to"),
    ],
)
def test_what_goes_wrong_is_one_line(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    given = [word.format(made=made) for word in words]
    to = [] if "--to" in words else ["--to", str(tmp_path / "out")]
    assert robustness.main([str(made / "set"), *given, *to]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert told in err
