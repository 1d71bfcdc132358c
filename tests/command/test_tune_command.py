"""`--tune head`: the model that a few labels make, from `ferflow train` and from the tasks of the flow `retrain`."""

import json
import logging

import pytest

from fer_core.faceset import read_card
from fer_core.labels import EXPRESSIONS
from fer_core.models.registry import champion, promote
from fer_core.outputs.registry import registered_outputs
from fer_core.review.incoming import import_reviews
from fer_core.storage.store import open_store
from fer_core.training.config import TrainConfig
from fer_core.training.head_tuning import tune_head
from fer_core.training.promotion_gate import GateBounds
from fer_core.training.retraining import plan_tuning
from fer_core.training.reviewed_faces import read_reviewed_faces
from flows.cli import main
from tasks import retrain
from tasks.artifacts.retrain import Outcome, as_json, headline, page
from tests.support import reviews
from tests.support.made_faces import made_faceset, small_model, small_model_with_prior
from tests.support.processes import Commands


@pytest.fixture(scope="module")
def faceset(tmp_path_factory):
    return made_faceset(tmp_path_factory.mktemp("faces") / "own", {"train": 64}, "single")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return small_model_with_prior(tmp_path_factory.mktemp("start") / "first")


def test_a_tuned_model_by_command(faceset, start, tmp_path, capsys):
    assert main.main(["train", str(faceset), "--to", str(tmp_path), "--start", str(start.path), "--tune", "head", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["name"] == "first-tuned"
    assert told["tuned"]["faces"] == told["development"]["faces"] == 64
    assert told["tuned"]["reference"] is None
    assert main.main(["models", "show", told["model"]]) == 0
    shown = capsys.readouterr().out
    assert f"head tuned     from first {start.digest[:12]} on 64 faces of 64 groups" in shown
    assert "on them, cross-validated: accuracy" in shown
    assert main.main(["evaluate", str(faceset), "--model", told["model"], "--split", "train", "--json"]) == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "needs the model to start from"),
        (["--start", "EARLY"], 1, "has no class prior"),
        (["--start", "FIRST", "--teacher", "FIRST"], 2, "does not take --teacher"),
        (["--start", "FIRST", "--epochs", "3"], 2, "does not take --epochs"),
        (["--start", "FIRST", "--resume"], 2, "does not take --resume"),
    ],
)
def test_what_makes_no_sense_is_one_line(faceset, start, tmp_path, capsys, words, code, says):
    small_model(tmp_path / "early")
    named = {"FIRST": str(start.path), "EARLY": str(tmp_path / "early")}
    words = [named.get(word, word) for word in words]
    assert main.main(["train", str(faceset), "--to", str(tmp_path / "models"), "--tune", "head", *words]) == code
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(("count", "classes"), [(1, ("fear",)), (30, ("fear",))])
def test_too_few_faces_are_one_line(start, tmp_path, capsys, count, classes):
    few = made_faceset(tmp_path / "few", {"train": count}, "single", classes=classes)
    assert main.main(["train", str(few), "--to", str(tmp_path / "models"), "--tune", "head", "--start", str(start.path)]) == 1
    said = capsys.readouterr().err
    assert f"at least 20 faces of 2 expressions (there are: fear {count})" in said
    assert said.count("\n") == 1


def test_the_tasks_of_a_retraining(faceset, start, tmp_path, monkeypatch):
    """What the flow does with a champion and reviewed faces, without an orchestrator."""
    monkeypatch.setattr(retrain, "get_run_logger", lambda: logging.getLogger("made"))
    monkeypatch.setattr(retrain, "log_found", lambda text: None)
    models = tmp_path / "models"
    promote(models, start, champion(models).digest, "to begin with")
    before = champion(models)
    found = plan_tuning(faceset, before, TrainConfig())
    assert found.tune == "head"
    challenger, judged = retrain.tune_challenger.fn(models, before, found, GateBounds())
    assert challenger.path.parent == models
    assert json.loads((challenger.path / "verdict.json").read_text())["challenger"] == challenger.digest
    promotion = retrain.promote_challenger.fn(models, before, challenger, judged)
    assert champion(models).digest == challenger.digest
    outcome = Outcome(before, challenger, judged.verdict, judged.where, judged.champion, judged.challenger, promotion)
    assert headline(outcome).startswith("promoted: balanced accuracy")
    assert promotion.reason.startswith("gate passed: balanced accuracy")
    text = page(outcome, found)
    assert "cross-validated: whole groups (64 in all)" in text
    assert "fitted to 64 faces of 64 groups" in text
    json.dumps(as_json(outcome))


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory):
    """A labels root whose 24 faces are reviewed."""
    folder = tmp_path_factory.mktemp("reviewed")
    reviews.night(folder / "root", reviews.photographs(folder / "photos", 24))
    entries = [reviews.correction(row, EXPRESSIONS[number % 4]) for number, row in enumerate(reviews.labels_of(folder / "root"))]
    import_reviews(open_store(str(folder / "root")), reviews.written(folder / "said.json", reviews.corrections(entries)), None)
    return folder / "root"


def test_all_reviewed_faces_are_learnt_from(start, reviewed, tmp_path, monkeypatch, capsys):
    """None is held out, and the challenger's name follows from faces and champion."""
    monkeypatch.setattr(retrain, "get_run_logger", lambda: logging.getLogger("made"))
    found = [
        retrain.gather_faces.fn(tmp_path / "models", (), str(reviewed), start, TrainConfig(), "from champion", "head") for _ in range(2)
    ]
    assert found[0].config.name == found[1].config.name
    assert found[0].config.name.startswith("tuned-")
    assert found[0].sources.facesets == (tmp_path / "models" / "reviewed",)
    assert read_card(found[0].judge).counts == {"train": 24}
    model = tune_head(start, found[0].sources.facesets, tmp_path / "models", found[0].config.name).model
    assert model.card["tuned"]["on"][0]["purposes"] == ["tests"]
    assert str(reviewed) not in json.dumps(model.card)  # the card is passed on with the model
    assert len(read_reviewed_faces(model.path).faces) == 24
    assert {output.url: output.kind for _, output in registered_outputs(open_store(str(reviewed)))} == {
        str(tmp_path / "models" / "reviewed"): "reviewed",
        str(model.path): "model",
    }
    assert main.main(["models", "show", str(model.path)]) == 0
    assert "labelled for: tests" in capsys.readouterr().out


@pytest.mark.slow
def test_a_whole_retraining(start, reviewed, tmp_path):
    """The command with its flow: the same faces and champion end with the same challenger."""
    models = tmp_path / "models"
    promote(models, start, champion(models).digest, "to begin with")
    commands = Commands(tmp_path)
    told = []
    for _ in range(2):
        ended = commands.run("retrain", models, "--reviewed", reviewed, "--tune", "head", "--keep", "--json")
        assert ended.code == 0, ended.err
        told.append(json.loads(ended.out))
    assert told[0]["challenger"] == told[1]["challenger"]
    assert told[0]["verdict"]["faces"] == 24
    assert champion(models).digest == start.digest
