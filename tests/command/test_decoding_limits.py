"""`--max-megapixels` and `--max-bytes`: what a run keeps of them, and what another value or other decoders read again."""

import json
from dataclasses import replace

import pytest

from fer_core.commit.plan import Plan, write_plan
from fer_core.decode.extras import installed_decoders
from fer_core.errors import UsageError
from fer_core.planning.draft import draft
from fer_core.run.configuration import MAX_BYTES, MAX_PIXELS
from fer_core.storage.store import open_store
from flows.label_params import LabelParams
from flows.setup.checks import parse_params
from flows.setup.label import configure, load_resumable_plan
from tasks.clusters import local
from tasks.clusters.local import LocalCluster
from tests.support import fakes

FORM = {"source": "/photos", "to": "/labels"}


def test_labelled_images_are_not_read_again(call, labelled):
    for words in ((), ("--max-megapixels", "200"), ("--max-bytes", 10**9), ("--max-megapixels", "0.001", "--max-bytes", 10)):
        ended = call("label", labelled.source, "--to", labelled.root, *words, "--dry-run", "--json")
        assert json.loads(ended.out)["unchanged"] == 2


def test_the_form_has_them():
    fields = LabelParams.model_json_schema()["properties"]
    assert (fields["max_megapixels"]["default"], fields["max_bytes"]["default"]) == (100, MAX_BYTES)
    assert parse_params(LabelParams, FORM).max_pixels == MAX_PIXELS
    assert parse_params(LabelParams, {**FORM, "max_megapixels": 0.5}).max_pixels == 500_000
    for name, value in (("max_megapixels", 0), ("max_megapixels", 701), ("max_megapixels", float("nan")), ("max_bytes", 0)):
        with pytest.raises(UsageError, match=f"^--{name.replace('_', '-')} "):
            parse_params(LabelParams, {**FORM, name: value})


def test_higher_limits_take_fewer_processes_where_no_number_is_asked_for(monkeypatch):
    monkeypatch.setattr(local, "memory", lambda: 8 * 2**30)
    monkeypatch.setattr(local, "cores", lambda: 4)
    usual = parse_params(LabelParams, FORM)
    assert usual.workers_wanted == LocalCluster()
    assert usual.workers_wanted.max_concurrency() == 4
    large = parse_params(LabelParams, {**FORM, "max_megapixels": 200})
    assert large.workers_wanted.max_concurrency() == 2
    assert parse_params(LabelParams, {**FORM, "max_megapixels": 200, "workers": 3}).workers_wanted.max_concurrency() == 3


def test_a_run_keeps_them_and_is_resumed_with_them(tmp_path):
    photos = fakes.write_pictures(tmp_path / "photos", [1])
    given = {"source": str(photos), "to": str(tmp_path / "labels"), "detector": "builtin", "model": "tiny"}
    config = configure(LabelParams(**given, run_id="ours", max_megapixels=2.5, max_bytes=10**6, shard_size=1))
    assert (config.max_pixels, config.max_bytes, config.decoders) == (2_500_000, 10**6, installed_decoders())
    write_plan(open_store(given["to"]), Plan(config, fakes.plan_table(fakes.refs(photos), 1), listed=1, unchanged=0, deleted=0))
    assert load_resumable_plan(LabelParams(**given, resume="ours")).config.max_pixels == 2_500_000
    assert load_resumable_plan(LabelParams(**given, resume="ours", max_bytes=10**6)).config.max_bytes == 10**6
    for name, value, said in (("max_megapixels", 3, "2,500,000 pixels"), ("max_bytes", 5, "1,000,000 bytes")):
        with pytest.raises(UsageError, match=f"was started with at most {said} an image: "):
            load_resumable_plan(LabelParams(**given, resume="ours", **{name: value}))


def test_a_later_night_reads_what_the_earlier_one_could_not(tmp_path):
    """A root of an earlier release, whose runs say nothing of decoders."""
    photos, root = fakes.write_pictures(tmp_path / "photos", [1, 0]), str(tmp_path / "labels")
    (photos / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (photos / "note.txt").write_bytes(b"text")
    first = fakes.config(root)
    assert first.decoders == "1"
    fakes.label(first, fakes.refs(photos))
    inventory, store = fakes.inventory(fakes.refs(photos)), open_store(root)
    later = replace(first, run_id="later", started_us=first.started_us + 1, decoders="2 raw")
    asked = [draft(store, config, inventory, workers=1, force=False) for config in (replace(later, decoders="1"), later)]
    names = [[uri.rpartition("/")[2] for uri in one.images["image_uri"].to_pylist()] for one in asked]
    assert names == [[], ["note.txt", "photo.heic"]]
    assert asked[1].images["failed_before"].to_pylist() == [True, True]
    fakes.label(later, fakes.refs(photos))
    assert draft(store, replace(later, run_id="next"), inventory, workers=1, force=False).unchanged == 4
