"""What `ferflow retrain` says before anything starts."""

import json

import pytest

from fer_core.errors import ModelError, UsageError
from flows.cli import main
from flows.retrain_params import GateForm, RetrainParams
from flows.setup.retrain import check_retrain, retrain_params
from tests.support.made_faces import made_faceset


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "there are no training faces"),
        (["--faceset", "ABSENT"], 1, "not a face set"),
        (["--faceset", "SET", "--epochs", "0"], 2, "--epochs input should be greater than or equal to 1"),
        (["--faceset", "SET", "--bound", "speed"], 2, "a bound is NAME=VALUE"),
        (["--faceset", "SET", "--bound", "nonsense=1"], 2, "--bound nonsense"),
        (["--faceset", "SET", "--bound", "speed=fast"], 2, "--bound speed"),
        (["--reviewed", "s3://key:hush@bucket/labels"], 2, "credentials do not belong"),
        (["--reviewed", "x", "--start", "from random weights"], 2, "needs base face sets"),
        (["--reviewed", "x", "--faceset", "SET", "--tune", "head"], 2, "learns from reviewed faces alone"),
        (["--faceset", "SET", "--tune", "head"], 2, "learns from reviewed faces alone"),
    ],
)
def test_what_makes_no_sense_is_one_line(tmp_path, capsys, words, code, says):
    made_faceset(tmp_path / "SET", {"train": 8})
    words = [str(tmp_path / word) if word in {"SET", "ABSENT"} else word for word in words]
    assert main.main(["retrain", str(tmp_path / "models"), *words]) == code
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert "hush" not in said


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot write models"):
        check_retrain(retrain_params({"models": str(tmp_path / "file" / "models"), "reviewed": "labels"}))


def test_the_form_holds_everything_that_the_gate_judges():
    bounds = GateForm.model_validate({"accuracy": -0.01, "support": 30}).bounds()
    assert (bounds.accuracy, bounds.support, bounds.recall) == (-0.01, 30, -0.1)
    with pytest.raises(UsageError):
        retrain_params({"models": "m", "reviewed": "r", "gate": {"support": 0}})


def test_the_form_is_one_that_people_can_fill_in():
    """Every field has a title, a description and, but for the folder, a default; choices are choices."""
    schema = RetrainParams.model_json_schema()
    assert schema["required"] == ["models"]
    for name, field in schema["properties"].items():
        assert field["title"], name
        assert field.get("description") or "$ref" in field, name
    assert schema["properties"]["start"]["enum"] == ["from champion", "from random weights"]
    assert (schema["properties"]["tune"]["enum"], schema["properties"]["tune"]["default"]) == (["all", "head"], "all")
    json.dumps(schema)


def test_parameters_survive_the_orchestrator():
    params = retrain_params({"models": "m", "facesets": ["a", "b"], "gate": {"speed": 0.5}})
    assert RetrainParams.model_validate(json.loads(params.model_dump_json())) == params
