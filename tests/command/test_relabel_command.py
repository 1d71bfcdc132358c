"""`ferflow relabel` as a person runs it, and killed in the middle. The night before it is made of the fakes' pictures."""

import json
import time
import urllib.request

import duckdb
import pytest

from fer_core.commit.publish import committed_runs
from fer_core.commit.verify import verify
from fer_core.export.current_view import views
from fer_core.storage.store import open_store
from flows.cli.main import main
from tests.support import fakes
from tests.support.made_faces import small_model
from tests.support.relabelled import label, relabel

PICTURES = 32


def current_runs(root):
    with duckdb.connect() as database:
        database.execute(views(open_store(str(root))))
        return database.sql("SELECT run_id, count(*) FROM current GROUP BY ALL").fetchall()


def receipts(root, run_id):
    return list((root / "_staging" / run_id / "receipts").glob("*.json"))


def asked(url, **what):
    """Of Prefect's API."""
    data = json.dumps(what).encode() if what else None
    with urllib.request.urlopen(urllib.request.Request(url, data, {"Content-Type": "application/json"}), timeout=60) as answer:
        return json.load(answer)


def test_killed_and_resumed(on_server, prefect_url, tmp_path, capfd):
    """SIGKILL in the middle leaves nothing to see and no process; --resume ends with every face once and an account of what changed."""
    commands, root, model = on_server, tmp_path / "labels", small_model(tmp_path / "small")
    faces = label(root, fakes.write_pictures(tmp_path / "photos", [2, 1] * (PICTURES // 2)), seed=1).faces
    words = ["relabel", root, "--model", model.path, "--workers", 1, "--shard-size", 1]
    process = commands.start(*words, "--run-id", "again")
    deadline = time.monotonic() + 200
    while not receipts(root, "again"):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=280)
    commands.wait_until_gone()
    kept = len(receipts(root, "again"))
    assert 0 < kept < PICTURES
    assert committed_runs(open_store(str(root))) == ["night"]
    assert current_runs(root) == [("night", faces)]
    assert not [path for table in ("labels", "images", "faces") for path in (root / table).rglob("run=again*")]

    ended = commands.run(*words, "--resume", "again", "--json")
    assert ended.code == 0, ended.err
    said = ended.json
    assert said["resumed"] >= kept
    assert (said["images"]["labeled"], said["listed"], said["unchanged"], said["faces"]) == (PICTURES, PICTURES, 0, faces)
    assert said["model"] == {"name": "small", "digest": model.digest}
    changes = said["changes"]
    assert sum(map(sum, changes["matrix"])) == changes["faces"] == faces
    assert changes["changed"] == faces - sum(row[at] for at, row in enumerate(changes["matrix"]))
    assert current_runs(root) == [("again", faces)]
    assert verify(open_store(str(root))).problems == ()
    assert not [path for path in (root / "_staging").rglob("*") if path.is_file()]
    commands.wait_until_gone()

    code = main([*map(str, words), "--resume", "again", "--json"])  # a no-op, which starts nothing
    again = json.loads(capfd.readouterr().out)
    assert (code, again["changes"], again["resumed"]) == (0, changes, PICTURES)
    only = {"key": {"any_": ["relabel-summary"]}}
    (artifact,) = asked(f"{prefect_url}/artifacts/filter", artifacts=only, sort="CREATED_DESC", limit=1)
    run = asked(f"{prefect_url}/flow_runs/{artifact['flow_run_id']}")
    assert asked(f"{prefect_url}/flows/{run['flow_id']}")["name"] == "relabel"
    text = artifact["data"]
    assert f"{changes['changed']:,} of {faces} faces" in text
    assert "before \\ after | neutral | happiness" in text


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "labels"
    label(root, fakes.write_pictures(tmp_path / "photos", [1, 2]), seed=1)
    return root


def failed(capsys, *words):
    code = main(["relabel", *map(str, words)])
    return code, capsys.readouterr().err.strip()


def test_what_cannot_be_done_is_one_line(root, tmp_path, capsys):
    model = small_model(tmp_path / "small").path
    label(tmp_path / "bare", tmp_path / "photos", keep_crops=False)
    for words, code, told in (
        ((root, "--model", "nobody"), 1, "unknown model 'nobody'"),
        ((tmp_path / "empty", "--model", model), 1, "no run has been committed"),
        ((tmp_path / "bare", "--model", model), 1, "label with --keep-crops first"),
        ((root, "--model", model, "--run-id", "night"), 1, "run night is committed: choose another id"),
        ((root, "--model", model, "--run-id", "No"), 2, "--run-id string should match pattern"),
        ((root, "--model", model, "--workers", 0), 2, "--workers input should be greater"),
        ((root, "--model", model, "--resume", "unheard-of"), 1, "unknown run: unheard-of"),
        ((root, "--model", model, "--resume", "night"), 2, "run night labels /photos: resume it with `ferflow label`"),
    ):
        found, line = failed(capsys, *words)
        assert (found, told in line, line.count("\n")) == (code, True, 0), line


def test_a_relabelling_is_resumed_with_the_same_model(root, tmp_path, capsys):
    from tests.support.relabelled import plan

    plan(root, "again", 2, hour=1)
    code, line = failed(capsys, root, "--model", small_model(tmp_path / "small").path, "--resume", "again")
    assert (code, line) == (2, "ferflow: run again was started with model seed 2: resume it with the same options")


def test_a_committed_one_is_told_of_without_starting_anything(root, capsys):
    manifest = relabel(root, "again", 2, hour=1)
    assert main(["relabel", str(root), "--model", "tiny", "--resume", "again"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"run again: 2 images relabelled, {manifest.faces} faces, 0 images had labels of this model already\n")
    assert "have another expression now" in text
    assert " -> " in text
