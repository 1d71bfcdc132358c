"""What `label` and `relabel` say about resuming, without a flow."""

import argparse

import pytest

from flows.cli import label, relabel
from flows.cli.labelling_run import LabellingRun, given_options
from flows.label_params import LabelParams
from flows.relabel_params import RelabelParams
from flows.setup.checks import parse_params
from tests.support import fakes

FORMS = {"label": LabelParams, "relabel": RelabelParams}


def parsed(*words: str):
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    for command in (label, relabel):
        command.add_parser(subparsers)
    form = FORMS[words[0]]
    return parse_params(form, given_options(parser.parse_args(words), form))


def runs(root, *options):
    """A run of each command over one root."""
    at = ("label", "/photos", "--to", str(root)), ("relabel", str(root))
    models = (), ("--model", "tiny")
    given = [parsed(*words, *model, *options) for words, model in zip(at, models, strict=True)]
    return [LabellingRun(params, str(root), 1, words, lambda: lambda params: None, False) for params, words in zip(given, at, strict=True)]


@pytest.mark.parametrize("command", FORMS)
def test_options_are_fields_of_the_form(command):
    words = ["/photos", "--to", "/labels"] if command == "label" else ["/labels", "--model", "tiny"]
    params = parsed(command, *words, "--workers", "3", "--shard-size", "7", "--cluster", "local:2-5", "--device", "cpu")
    assert (params.workers, params.shard_size, params.device) == (3, 7, "cpu")
    assert params.workers_wanted.processes == 3
    assert params.model_fields_set >= {"workers", "shard_size", "cluster", "device"}


@pytest.mark.parametrize("command", FORMS)
def test_a_run_gets_an_id_once(command):
    words = ["/photos", "--to", "/labels"] if command == "label" else ["/labels", "--model", "tiny"]
    named = parsed(command, *words).named()
    assert named.run_id.startswith("run-")
    assert named.named() is named
    assert parsed(command, *words, "--run-id", "a").named().run_id == "a"
    assert parsed(command, *words, "--resume", "a").named().run_id is None


def test_how_to_resume_depends_on_how_far_the_run_is(tmp_path):
    root = tmp_path / "labels"
    assert [run.how_to_resume() for run in runs(root, "--run-id", "a")] == ["the run was not started: run the same command again"] * 2
    run, images = fakes.config(root, "a"), fakes.refs(fakes.write_pictures(tmp_path / "photos", [1]))
    fakes.stage_run(run, images)
    assert [run.how_to_resume() for run in runs(root, "--run-id", "a", "--workers", "2")] == [
        f"resume with: ferflow label /photos --to {root} --resume a --workers 2",
        f"resume with: ferflow relabel {root} --resume a --model tiny --workers 2",
    ]
    assert runs(root, "--resume", "a", "--workers", "2")[0].how_to_resume().endswith("--resume a --workers 2")
    fakes.label(fakes.config(root, "b"), images)
    assert [run.how_to_resume() for run in runs(root, "--resume", "b")] == ["run b is committed"] * 2
