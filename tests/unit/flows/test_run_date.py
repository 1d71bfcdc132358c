"""`run_date` is the day in the zone of the schedule."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fer_core.commit.manifest import Manifest
from fer_core.errors import UsageError
from fer_core.planning.time_zone import SCHEDULES, run_zone
from fer_core.relabel.configuration import relabel_config
from fer_core.relabel.survey import survey
from fer_core.run.configuration import Answering, RunConfig
from fer_core.storage.store import open_store
from flows.label_params import LabelParams
from flows.label_summary import as_json
from flows.relabel_params import RelabelParams
from flows.setup.checks import parse_params
from flows.setup.label import configure
from flows.setup.relabel import relabel_options
from tasks.artifacts.label import Summary
from tests.support import fakes
from tests.support.relabelled import label

NIGHT = datetime(2026, 1, 1, 1, 0, tzinfo=UTC)
"""2:00 in Berlin, still New Year's Eve in Lima."""
NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
"""The next day in Auckland."""


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    monkeypatch.delenv(SCHEDULES, raising=False)


@pytest.mark.parametrize(
    ("given", "schedules", "now", "expected"),
    [
        (None, None, NIGHT, ("2026-01-01", "Europe/Berlin")),
        ("America/Lima", None, NIGHT, ("2025-12-31", "America/Lima")),
        (None, "America/Lima", NIGHT, ("2025-12-31", "America/Lima")),
        ("Pacific/Auckland", "America/Lima", NOON, ("2026-01-02", "Pacific/Auckland")),
        ("UTC", "Pacific/Auckland", NOON, ("2026-01-01", "UTC")),
    ],
)
def test_label_and_relabel(tmp_path, monkeypatch, given, schedules, now, expected):
    if schedules:
        monkeypatch.setenv(SCHEDULES, schedules)
    params = LabelParams(source="/photos", to=str(tmp_path / "labels"), detector="builtin", timezone=given)
    config = configure(params, now)
    assert (config.run_date, config.timezone) == expected
    assert config.started_us == int(now.timestamp() * 1e6)
    photos = fakes.write_pictures(tmp_path / "photos", [1])
    label(tmp_path / "labels", photos, "first", 1, 0)
    store = open_store(str(tmp_path / "labels"))
    options = relabel_options(RelabelParams(root=store.root, model="tiny", run_id="again", timezone=given))
    again = relabel_config(store, survey(store, Answering("f" * 64)), options, now)
    assert (again.run_date, again.timezone) == expected


def test_the_manifest_says_the_zone_and_old_ones_mean_utc(tmp_path):
    run = replace(fakes.config(tmp_path / "labels"), timezone="America/Lima")
    manifest = fakes.label(run, fakes.refs(fakes.write_pictures(tmp_path / "photos", [1])))
    assert (manifest.timezone, manifest.config["timezone"]) == ("America/Lima", "America/Lima")
    said = as_json(Summary(manifest, "", 0, 0, 0), 0)
    assert (said["run_date"], said["timezone"]) == (run.run_date, "America/Lima")
    assert run.pipeline_digest == replace(run, timezone="UTC").pipeline_digest
    old = {name: value for name, value in run.to_json().items() if name not in ("timezone", "anonymous")}
    assert RunConfig.from_json(old) == replace(run, timezone="UTC")
    value = json.loads(manifest.to_bytes())
    del value["timezone"], value["config"]["timezone"], value["config"]["anonymous"]
    earlier = Manifest.from_bytes(json.dumps(value).encode())
    assert (earlier.timezone, earlier.run_config().timezone, earlier.run_date) == ("UTC", "UTC", run.run_date)


def test_a_zone_that_is_unknown_is_one_line():
    with pytest.raises(UsageError, match=r"^--timezone 'Mars/Base' is not known on this machine: give a name such as Europe/Berlin"):
        parse_params(LabelParams, {"source": "/photos", "to": "/labels", "timezone": "Mars/Base"})


@pytest.mark.parametrize("zone", ["CET-1CEST,M3.5.0,M10.5.0/3", "nonsense", ":/no/such/file"])
def test_a_machine_without_a_known_name_has_utc(monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    assert run_zone(None) == "UTC"
