"""The flow `housekeeping` in a labels root that real runs wrote; and what the morning's check says of it, with the same server."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from fer_core.commit.verify import VerifyReport
from flows.housekeeping import HousekeepingParams
from tasks.housekeeping import Housekeeping, headline, page

KEEP = """
import json, sys, time
from pathlib import Path
from flows.server.prefect_api import flush, prefect_api
from flows.server.session import session

whole, torn = sys.argv[1:]
with session(), prefect_api() as api, api.ready():
    from fer_core.errors import FerflowError
    from fer_core.commit.lease import lease
    from fer_core.storage.store import open_store
    from flows.housekeeping import HousekeepingParams, housekeeping
    from flows.freshness_check import NightCheckParams, night_check
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName
    from prefect.events.filters import EventFilter, EventNameFilter

    def tried(root):
        try:
            done = housekeeping(HousekeepingParams(root=root))
            return {"ok": done.report.ok, "runs": done.report.runs, "collected": list(done.collected)}
        except FerflowError as error:
            return {"error": str(error), "kind": type(error).__name__}

    said = {"whole": tried(whole), "torn": tried(torn)}
    with lease(open_store(whole), "run tonight"):
        said["beside"] = tried(whole)
    said["nothing"] = tried(whole + "-absent")
    said["missing"] = [night_check(NightCheckParams(root=root))["missing"] for root in (whole, whole + "-absent")]
    flush()
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=["housekeeping"])))
        states = [(run.state_name, run.parameters["params"]["root"]) for run in runs]
        pages = [found.data for found in client.read_artifacts() if found.key == "housekeeping"]
        deadline, told = time.monotonic() + 240, []
        while not told and time.monotonic() < deadline:
            events = client.read_events(EventFilter(event=EventNameFilter(name=["fer.night.missing"])), limit=50).events
            told = [event.payload["root"] for event in events if event.payload["root"].startswith(whole)]
            time.sleep(0.1)
print(json.dumps({**said, "told": told, "root": whole, "states": states, "pages": pages}))
"""


@pytest.fixture(scope="module")
def kept(labelled, on_server, tmp_path_factory):
    """What the flow said of a whole root, a torn one, one that a run works in, and none."""
    assert labelled.ended.code == 0, labelled.ended.err
    folder = tmp_path_factory.mktemp("kept")
    for name in ("whole", "torn"):
        shutil.copytree(labelled.root, folder / name)
    part = next((folder / "torn" / "labels").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-10])
    abandoned = folder / "whole" / "_staging" / "first" / "labels"
    abandoned.mkdir(parents=True)
    (abandoned / "part-00000.parquet").write_bytes(b"of a run that is committed")
    words = [sys.executable, "-c", KEEP, str(folder / "whole"), str(folder / "torn")]
    ended = subprocess.run(
        words,
        env=on_server.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=Path(__file__).parents[2],
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def test_a_whole_root_is_in_order_afterwards(kept):
    assert kept["whole"]["ok"]
    assert kept["whole"]["collected"] == ["first"]
    assert any("verified" in page for page in kept["pages"])


def test_a_torn_part_fails_the_run_and_is_named(kept):
    assert kept["torn"]["kind"] == "CommitError"
    assert "part-" in kept["torn"]["error"]
    assert any("## Problems" in page for page in kept["pages"])
    assert "Failed" in [state for state, root in kept["states"] if root.endswith("torn")]


def test_beside_a_run_it_ends_at_once(kept):
    assert kept["beside"]["kind"] == "LeaseError"
    assert "run tonight" in kept["beside"]["error"]


def test_where_nothing_is_it_says_so(kept):
    assert kept["nothing"]["kind"] == "StoreError"
    assert "there is no run" in kept["nothing"]["error"]


def test_a_morning_without_a_night_is_told_and_one_after_a_night_is_not(kept):
    assert kept["missing"] == [False, True]
    assert kept["told"] == [f"{kept['root']}-absent"]


def test_the_page_names_what_was_done():
    done = Housekeeping(("run-a",), ("run-c",), VerifyReport(4, 9, 1234, (), ("staging of run run-d is left over",)))
    assert headline(done).endswith("4 runs, 9 parts and 1,234 rows verified")
    for name in ("run-a", "run-c", "run-d"):
        assert f"{name}" in page(done)
    broken = Housekeeping((), (), VerifyReport(1, 1, 0, tuple(f"gone: {n}" for n in range(60)), ()))
    assert headline(broken) == "60 problems; the first: gone: 0"
    assert page(broken).count("- gone") == 50


def test_parameters_are_bounded_and_hold_no_secret():
    with pytest.raises(ValidationError):
        HousekeepingParams(root="/labels", keep_days=0)
    with pytest.raises(ValidationError) as caught:
        HousekeepingParams(root="s3://key:hush@bucket/labels")
    assert "hush" not in str(caught.value)
