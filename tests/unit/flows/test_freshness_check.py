"""Was there a run at all?"""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fer_core.commit.lease import Claim, lease
from fer_core.commit.process_identity import ProcessIdentity
from fer_core.storage.store import open_store
from flows.freshness_check import NightCheckParams
from tasks.freshness_check import active_run, find_last_run, is_missing
from tests.support.drifting import night

NOW = datetime(2026, 11, 25, 5, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("committed_hours_ago", "at_work", "missing"),
    [
        (None, False, True),
        (None, True, False),
        (3, False, False),
        (11.9, False, False),
        (12.1, False, True),
        (26, False, True),
        (26, True, False),
    ],
)
def test_what_counts_as_a_night(committed_hours_ago, at_work, missing):
    committed = None if committed_hours_ago is None else NOW - timedelta(hours=committed_hours_ago)
    assert is_missing(committed, at_work, NOW, 12) is missing


@given(st.floats(0, 1000), st.floats(0.1, 1000), st.floats(0.1, 1000))
def test_who_looks_further_back_misses_less(ago, hours, more):
    committed = NOW - timedelta(hours=ago)
    assert not is_missing(committed, False, NOW, hours + more) or is_missing(committed, False, NOW, hours)


def test_the_newest_commit_counts(tmp_path):
    root = str(tmp_path / "labels")
    assert find_last_run.fn(root, 12).run_id is None
    for run, day in (("later", 1), ("earlier", 0)):
        night(root, run, day, faces=2, no_face=0)
    found = find_last_run.fn(root, 12)
    assert (found.run_id, found.missing, found.at_work) == ("earlier", False, None)  # committed last, just now
    (manifest,) = tmp_path.glob("labels/_meta/runs/earlier/manifest.json")
    text = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(text | {"committed_at": "2026-01-01T03:00:00+00:00"}))
    assert find_last_run.fn(root, 12).run_id == "later"
    for file in tmp_path.glob("labels/_meta/runs/*/manifest.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"committed_at": "2026-01-01T03:00:00+00:00"}))
    assert find_last_run.fn(root, 12).missing


def test_relabelling_is_no_night(tmp_path):
    from fer_core.relabel.survey import SOURCE

    root = str(tmp_path / "labels")
    night(root, "first", 0, faces=2, no_face=0)
    (manifest,) = tmp_path.glob("labels/_meta/runs/first/manifest.json")
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"source": SOURCE}))
    assert find_last_run.fn(root, 12).missing


def test_a_run_at_work_is_a_night(tmp_path):
    store = open_store(str(tmp_path / "labels"))
    with lease(store, "run long-one"):
        found = find_last_run.fn(store.url(), 12)
    assert (found.at_work, found.missing) == ("run long-one", False)
    with lease(store, "housekeeping"):
        assert find_last_run.fn(store.url(), 12).missing


@pytest.mark.parametrize(("beats", "said"), [((4, 4), None), ((4, 5), "run far-away")])
def test_a_run_elsewhere_is_at_work_while_it_renews_its_lease(tmp_path, monkeypatch, beats, said):
    process = ProcessIdentity("far", "another machine", 1, "then")
    claims = iter([[Claim("token", "run far-away", process, "2026-01-01", held=True, beat=beat)] for beat in beats])
    monkeypatch.setattr("tasks.freshness_check.live_claims", lambda store: next(claims))
    assert active_run(open_store(str(tmp_path)), wait=0) == said


@pytest.mark.parametrize("wrong", [{"hours": 0}, {"hours": "many"}, {"root": ""}, {"root": "s3://key:secret@bucket"}, {"day": 1}])
def test_the_form_refuses(wrong):
    with pytest.raises(ValidationError):
        NightCheckParams.model_validate({"root": "/labels", **wrong})
