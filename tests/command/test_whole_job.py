"""The whole job as real processes over everything a folder can hold, twice, in different shapes."""

import json
import re
import subprocess
import sys
import urllib.request

import pyarrow.parquet as pq
import pytest

from fer_core.tables.schema import QUARANTINE
from tests.support.broken_images import make_zoo
from tests.support.processes import PATIENCE

PASSING = ("run_id", "labeled_at", "seen_at")
"""Columns in which two runs may differ."""


def rows(root, table, keys):
    """A table without what passes, in a fixed order."""
    read = pq.read_table(root / table).drop_columns(
        [*(name for name in PASSING if name in pq.read_table(root / table).column_names), "run_date", "run"]
    )
    return read.sort_by([(key, "ascending") for key in keys]).to_pylist()


NIGHTS = """
import json, sys
from flows.server.prefect_api import prefect_api
from flows.server.session import session

with session(), prefect_api() as api, api.ready():
    from flows.label import label_collection
    from flows.label_summary import as_json, as_text
    from flows.label_params import LabelParams
    from flows.cli.started import STARTED_AT

    for given in json.loads(sys.argv[1]):
        summary = label_collection(LabelParams.model_validate(given))
        print(json.dumps({**as_json(summary, STARTED_AT), "text": as_text(summary, STARTED_AT, "")}, default=str))
"""
"""The flow of the command as often as is asked for, in one process: a command of its own takes longer to import it than to run it."""


@pytest.fixture(scope="module")
def zoo_runs(on_server, tmp_path_factory):
    """All of it into `one` under a bound that it exceeds, a part with every status into `two`, then a night with nothing new in `one`."""
    folder = tmp_path_factory.mktemp("zoo runs")
    expected = make_zoo(folder / "zoo")
    (folder / "others").mkdir()
    (folder / "zoo" / "elsewhere").symlink_to(folder / "others")
    plain = [name for name in sorted(expected) if re.fullmatch(r"[\w./]+", name, re.ASCII)]
    part = [*plain[::6], *(next(name for name in plain if expected[name] == status) for status in set(expected.values()))]
    (folder / "part.txt").write_text("".join(f"{folder / 'zoo' / name}\n" for name in dict.fromkeys(part)))
    words = ("label", folder / "zoo", "--to", folder / "one", "--workers", 1, "--shard-size", 3, "--keep-crops")
    one = on_server.run(*words, "--max-failed", 10, "--json")
    nights = (
        {"source": f"{folder}/part.txt", "to": f"{folder}/two", "workers": 2, "shard_size": 100},
        {"source": f"{folder}/zoo/*.png", "to": f"{folder}/one", "workers": 1, "max_failed": 10},
    )
    python = [sys.executable, "-P", "-c", NIGHTS, json.dumps(nights)]
    ended = subprocess.run(python, env=on_server.environment(), cwd=folder, check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
    two, night = map(json.loads, ended.stdout.splitlines())
    return folder, expected, {"one": one, "two": two, "night": night}


def test_every_listed_image_ends_as_one_row_with_its_status(zoo_runs):
    folder, expected, _ = zoo_runs
    images = pq.read_table(folder / "one" / "images").to_pylist()
    found = {row["image_uri"].removeprefix(f"{folder / 'zoo'}/"): row for row in images}
    assert len(images) == len(found)
    assert {name: row["status"] for name, row in found.items()} == expected
    for row in images:
        assert (row["reason"] is not None) == (row["status"] in QUARANTINE or row["image_uri"].endswith("/cut_short.jpg"))
        assert "\n" not in (row["reason"] or "")
        assert row["n_faces"] == 0 or row["status"] == "labeled"


def test_too_many_failures_exit_1_and_everything_is_committed(zoo_runs):
    folder, expected, ended = zoo_runs
    many, failed = ended["one"], sum(status in QUARANTINE for status in expected.values())
    assert many.code == 1
    assert f"{100 * failed / len(expected):.1f} % of the images were quarantined" in many.line
    assert "everything is committed" in many.line
    assert (many.json["listed"], sum(many.json["images"].values())) == (len(expected), len(expected))
    assert list((folder / "one").glob("faces/**/*.parquet"))


def test_links_that_lead_out_are_counted_and_named(zoo_runs):
    folder, _, ended = zoo_runs
    assert ended["one"].json["excluded"] == 1
    said = f"1 not entered: {folder}/zoo/elsewhere (links that lead out of the source are entered with --follow-links"
    assert said in ended["one"].err


def test_answers_do_not_depend_on_workers_or_shards(zoo_runs):
    folder, expected, ended = zoo_runs
    for table, keys in {"labels": ("image_uri", "face_index"), "images": ("image_uri",)}.items():
        one, two = (rows(folder / name, table, keys) for name in ("one", "two"))
        part = {row["image_uri"] for row in rows(folder / "two", "images", ("image_uri",))}
        assert two
        assert [row for row in one if row["image_uri"] in part] == two
    assert set(ended["two"]["images"]) >= set(expected.values())
    assert ended["one"].json["pipeline_digest"] == ended["two"]["pipeline_digest"]


def test_a_night_with_nothing_new_is_an_empty_commit(zoo_runs):
    """What was quarantined is not new either."""
    _, expected, ended = zoo_runs
    night = ended["night"]
    pictures = [status for name, status in expected.items() if name.endswith(".png") and "/" not in name]
    assert {"labeled", "unreadable", "too_large", "no_face"} <= set(pictures)
    assert (night["listed"], night["unchanged"], sum(night["images"].values())) == (len(pictures), len(pictures), 0)
    assert night["run_id"] != ended["one"].json["run_id"]
    assert f"{len(pictures)} unchanged, 0 processed" in night["text"][0]


def test_a_run_that_completes_with_too_many_failures_tells_of_them(zoo_runs, prefect_url):
    """By the event that automations wait for."""
    folder, _, ended = zoo_runs
    ever = {"since": "2020-01-01T00:00:00Z", "until": "2090-01-01T00:00:00Z"}
    wanted = json.dumps({"filter": {"occurred": ever, "event": {"name": ["fer.quarantine.exceeded"]}}}).encode()
    request = urllib.request.Request(f"{prefect_url}/events/filter", wanted, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = {event["payload"]["root"]: event["payload"] for event in json.loads(answer.read())["events"]}
    statuses = {status: count for status, count in ended["two"]["images"].items() if status in QUARANTINE and count}
    told = found[str(folder / "two")]
    assert (told["quarantined"], told["run_id"]) == (sum(statuses.values()), ended["two"]["run_id"])
    assert str(folder / "one") in found


def test_verify_finds_nothing_wrong(zoo_runs, call):
    folder, expected, _ = zoo_runs
    said = call("verify", folder / "one", "--json")
    assert (said.code, said.json["ok"], said.json["problems"]) == (0, True, [])
    assert said.json["rows"] >= len(expected)
