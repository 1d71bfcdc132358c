"""`--prior` and `--precision` on the command line and in forms."""

import json

import pytest
from pydantic import ValidationError

from fer_core.errors import ModelError, UsageError
from fer_core.labels import EXPRESSIONS
from fer_core.models.store import resolve_model
from flows.cli.answer_options import read_prior
from flows.label_params import LabelParams
from flows.relabel_params import RelabelParams
from flows.setup.answering import answering
from flows.setup.checks import parse_params
from tests.support.made_faces import small_model, small_model_with_prior

GIVEN = {"source": "/photos", "to": "/labels"}
EVEN = ",".join(["0.125000"] * 8)


def test_names_files_and_shares(tmp_path):
    assert read_prior(None) is None
    assert read_prior("balanced") == "balanced"
    file = tmp_path / "prior.json"
    for shares in ([3] * 8, dict.fromkeys(EXPRESSIONS, 2)):
        file.write_text(json.dumps(shares))
        assert read_prior(str(file)) == EVEN
    assert read_prior(EVEN) == EVEN


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[1, 1, 1, 1, 1, 1, 1]", "has 8 shares"),
        ("[1, 1, 1, 1, 1, 1, 1, -1]", "at least 0"),
        ("[0, 0, 0, 0, 0, 0, 0, 0]", "not all 0"),
        ("[NaN, 1, 1, 1, 1, 1, 1, 1]", "no JSON with eight shares"),
        ("{", "no JSON with eight shares"),
        ('{"neutral": 1}', "gives the shares of"),
        ("[" * 100_000, "no JSON with eight shares"),
        (" " * 100_000, "no JSON with eight shares"),
        ("\xff\xfe", "no JSON with eight shares"),
    ],
)
def test_files_that_are_no_prior(tmp_path, content, reason):
    file = tmp_path / "prior.json"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(UsageError, match=reason) as told:
        read_prior(str(file))
    assert "\n" not in str(told.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="a prior is training, tempered, balanced, or 8 shares"):
        read_prior(str(tmp_path / "none.json"))
    with pytest.raises(UsageError, match="a prior is training"):
        read_prior(str(tmp_path))


@pytest.mark.parametrize(("form", "given"), [(LabelParams, GIVEN), (RelabelParams, {"root": "/labels", "model": "tiny"})])
def test_forms(form, given):
    params = parse_params(form, {**given, "prior": EVEN, "precision": 0.9})
    assert (params.prior, params.precision) == (EVEN, 0.9)
    for change in ({"prior": "even"}, {"prior": "1,2"}, {"precision": 1.5}, {"precision": 0.4}, {"precision": float("nan")}):
        with pytest.raises(ValidationError):
            form.model_validate({**given, **change})
        with pytest.raises(UsageError, match=rf"^--{next(iter(change))} "):
            parse_params(form, {**given, **change})


def test_the_usual_prior_is_the_models(tmp_path):
    known, earlier = small_model_with_prior(tmp_path / "known"), small_model(tmp_path / "earlier")
    plain, asked = (LabelParams.model_validate({**GIVEN, **change}) for change in ({}, {"prior": "balanced", "precision": 0.9}))
    assert (answering(plain, known).prior, answering(plain, earlier).prior) == ("tempered", "training")
    assert (answering(asked, known).prior, answering(asked, known).precision) == ("balanced", 0.9)
    with pytest.raises(ModelError, match="no precision curve"):
        answering(LabelParams.model_validate({**GIVEN, "precision": 0.9}), earlier)
    with pytest.raises(ModelError, match="use --prior training"):
        answering(LabelParams.model_validate({**GIVEN, "prior": "balanced"}), earlier)


def test_the_shipped_model_knows_its_class_prior():
    params = LabelParams.model_validate(GIVEN)
    assert answering(params, resolve_model("tiny")).prior == "tempered"
