"""`--min-face` of a command: what the run keeps of it, and which images another value reads again."""

import json
from dataclasses import replace

import pytest

from fer_core.commit.publish import read_manifest
from fer_core.decode.min_face import DEFAULT
from fer_core.errors import UsageError
from fer_core.storage.store import open_store
from flows.label_params import LabelParams
from flows.setup.checks import parse_params
from flows.setup.label import configure, load_resumable_plan
from tests.support import fakes


@pytest.fixture
def dry(call, labelled):
    """What a run of the labelled collection with these options would read."""

    def asked(*words):
        ended = call("label", labelled.source, "--to", labelled.root, *words, "--dry-run", "--json")
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    return asked


def test_a_run_keeps_it_and_another_one_reads_the_images_again(labelled, dry):
    manifest = read_manifest(open_store(str(labelled.root)), "first")
    assert (manifest.config["min_face"], manifest.faces) == (DEFAULT, 7)
    assert [dry(*words)["unchanged"] for words in ((), ("--min-face", "1.0%"), ("--min-face", "40"), ("--min-face", "2%"))] == [2, 2, 0, 0]


def test_the_form_has_it_with_one_text_for_a_value():
    given = {"source": "/photos", "to": "/labels"}
    field = LabelParams.model_json_schema()["properties"]["min_face"]
    assert (field["type"], field["default"], field["title"]) == ("string", DEFAULT, "Smallest face")
    assert parse_params(LabelParams, given).min_face == DEFAULT
    assert parse_params(LabelParams, {**given, "min_face": "020.0"}).min_face == "20"
    with pytest.raises(UsageError, match=r"^--min-face has at least 10 and at most 100,000 pixels \('9'\)$"):
        parse_params(LabelParams, {**given, "min_face": "9"})


def test_a_run_is_resumed_with_the_smallest_face_that_it_was_begun_with(tmp_path):
    """Also one that an earlier release began: unless it is named, the value is the run's own."""
    from fer_core.commit.plan import Plan, write_plan

    photos = fakes.write_pictures(tmp_path / "photos", [1])
    given = {"source": str(photos), "to": str(tmp_path / "labels"), "detector": "builtin", "model": "tiny"}
    for run_id, begun in (("ours", "2%"), ("theirs", None)):
        config = configure(LabelParams(**given, run_id=run_id, min_face=begun or DEFAULT, shard_size=1))
        if begun is None:
            config = replace(config, min_face=None)
        write_plan(open_store(given["to"]), Plan(config, fakes.plan_table(fakes.refs(photos), 1), listed=1, unchanged=0, deleted=0))
        assert load_resumable_plan(LabelParams(**given, resume=run_id)).config.min_face == begun
        with pytest.raises(
            UsageError, match=f"run {run_id} was started with a smallest face of (2%|16 by the rule of an earlier release): "
        ):
            load_resumable_plan(LabelParams(**given, resume=run_id, min_face="40"))
    assert load_resumable_plan(LabelParams(**given, resume="ours", min_face="2.0%")).config.min_face == "2%"
