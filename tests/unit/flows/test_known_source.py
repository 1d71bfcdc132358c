"""One folder by three spellings gives one row of each photograph, not three."""

import os
from dataclasses import replace

import pytest

from fer_core.collection.inventory import collect
from fer_core.errors import UsageError
from fer_core.planning.draft import draft
from fer_core.storage.store import open_store
from flows.label_params import LabelParams
from flows.setup.known_source import is_same_folder, known_spelling, under_known_source
from flows.setup.label import load_resumable_plan
from tests.support import fakes


@pytest.fixture
def labelled_once(tmp_path):
    """A root in which `photos` was labelled, and the configuration of that run."""
    folder = fakes.write_pictures(tmp_path / "photos", [1, 1, 0])
    (tmp_path / "link").symlink_to("photos")
    run = fakes.config(tmp_path / "labels", source=str(folder))
    fakes.label(run, fakes.refs(folder))
    return run


def spellings(tmp_path):
    return [f"{tmp_path}//photos", f"{tmp_path}/link", f"{tmp_path}/./photos/", f"{tmp_path}/link/../photos", f"file://{tmp_path}/link/"]


def test_the_spelling_of_earlier_runs_counts(labelled_once, tmp_path):
    store = open_store(labelled_once.root)
    for source in spellings(tmp_path):
        params = under_known_source(LabelParams(source=source, to=labelled_once.root))
        assert params.source == labelled_once.source, source
        drawn = draft(store, replace(labelled_once, run_id="next", source=params.source), collect(params.source), workers=1, force=False)
        assert (drawn.listed, drawn.unchanged, drawn.deleted) == (3, 3, 0)
        assert is_same_folder(source, labelled_once.source)


def test_a_spelling_that_was_used_stays(labelled_once, tmp_path):
    """A root that has rows of several spellings already is extended as before."""
    link = f"{tmp_path}/link"
    fakes.label(replace(labelled_once, run_id="run-b", source=link), fakes.refs(tmp_path / "link"))
    store = open_store(labelled_once.root)
    for source in (link, f"{link}/", labelled_once.source, f"{labelled_once.source}/", "s3://bucket/photos", f"{link}/*.png", "/nowhere"):
        assert known_spelling(store, source) == source
    assert known_spelling(store, f"{tmp_path}//link") == link


def test_relative_names_and_other_folders_are_left_alone(labelled_once, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir(tmp_path / "other")
    store = open_store(labelled_once.root)
    for source in ("photos", "./photos", str(tmp_path / "other"), str(tmp_path)):
        assert known_spelling(store, source) == source
    assert known_spelling(store, "link") == labelled_once.source


def test_a_relative_spelling_of_an_earlier_run_is_known_where_it_was_used(tmp_path, monkeypatch):
    folder = fakes.write_pictures(tmp_path / "photos", [1])
    run = fakes.config(tmp_path / "labels", source="photos")
    fakes.label(run, fakes.refs(folder))
    store = open_store(run.root)
    assert known_spelling(store, f"{tmp_path}//photos") == f"{tmp_path}//photos"
    monkeypatch.chdir(tmp_path)
    assert known_spelling(store, f"{tmp_path}//photos") == str(folder)
    assert known_spelling(store, str(folder)) == str(folder)


def test_a_run_is_resumed_under_any_spelling(labelled_once, tmp_path):
    run = replace(labelled_once, run_id="broken")
    fakes.stage_run(run, fakes.refs(tmp_path / "photos"))
    given = {"to": run.root, "resume": "broken", "model": "tiny"}
    with pytest.raises(UsageError, match=r"labels .*photos, not .*other"):
        load_resumable_plan(LabelParams(source=str(tmp_path / "other"), **given))
    with pytest.raises(UsageError) as caught:
        load_resumable_plan(LabelParams(source=str(tmp_path / "link"), **given))
    assert "labels" not in str(caught.value).partition(":")[0], "it is refused for its model, not for its source"
