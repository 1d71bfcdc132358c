import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fer_core.collection.inventory import SourceOptions
from fer_core.collection.list_file import ListLimits
from fer_core.errors import UsageError
from fer_core.storage.store import open_store
from flows.label_params import LabelParams
from flows.setup.checks import check_label, parse_params

START = """
from fer_core.errors import FerflowError
from flows.server.prefect_api import prefect_api
from flows.server.session import session

try:
    with session(), prefect_api() as api, api.ready():
        pass
except FerflowError as error:
    raise SystemExit(f"ferflow: {error}")
"""


def test_help_teaches(call):
    ended = call("--help")
    assert ended.code == 0
    for word in ("label", "verify", "gallery", "detectors", "Exit codes"):
        assert word in ended.out


def test_the_command_starts_light(commands):
    heavy = {"torch", "cv2", "prefect", "distributed", "pyarrow", "numpy", "pydantic"}
    code = f"import sys, flows.cli.main, flows.cli.label; print({heavy} & sys.modules.keys() or 'light')"
    ended = subprocess.run([sys.executable, "-c", code], env=commands.environment(), capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "light"


WRONG_USE = [
    ([], "COMMAND"),
    (["lable", "x"], "invalid choice"),
    (["label", "x", "--to", "y", "--mdoel", "tiny"], "unrecognized arguments: --mdoel tiny (see ferflow label --help)"),
    (["label"], "SOURCE"),
    (["label", "{source}"], "--to"),
    (["label", "{source}", "--to", "{root}", "--workers", "0"], "--workers"),
    (["label", "{source}", "--to", "{root}", "--workers", "two"], "--workers"),
    (["label", "{source}", "--to", "{root}", "--shard-size", "0"], "--shard-size"),
    (["label", "{source}", "--to", "{root}", "--max-failed", "101"], "--max-failed"),
    *((["label", "{source}", "--to", "{root}", "--min-face", text], "--min-face ") for text in ("5", "0%", "101%", "abc", "nan", "")),
    (["label", "{source}", "--to", "{root}", "--max-megapixels", "0"], "--max-megapixels"),
    (["label", "{source}", "--to", "{root}", "--max-bytes", "0"], "--max-bytes"),
    (["label", "{source}", "--to", "{root}", "--run-id", "Run_1"], "--run-id"),
    (["label", "{source}", "--to", "{root}", "--run-id", "../x"], "--run-id"),
    (["label", "{source}", "--to", "{root}", "--run-id", "a", "--resume", "b"], "not allowed with"),
    (["label", "{source}", "--to", "{root}", "--device", "tpu"], "--device"),
    (["label", "{source}", "--to", "{root}", "--cluster", "yarn"], "cluster"),
    (["label", "{source}", "--to", "{root}", "--cluster", "tcp://nowhere"], "cluster"),
    (["label", "{source}", "--to", "{root}", "--cluster", "tcp://127.0.0.1:9", "--workers", "2"], "--workers"),
    (["label", "{source}", "--to", "{root}", "--detector", "magic"], "unknown detector"),
    (["label", "{source}", "--to", "s3://key:secret@bucket/labels"], "credentials"),
    (["label", "{source}", "--to", "{source}/labels"], "inside the source"),
    (["label", "{source}", "--to", "{source}/labels", "--dry-run"], "inside the source"),
    (["label", "{source}", "--to", "{root}", "--to={root}"], "--to: is given more than once"),
    (["label", "{source}", "--to", "{root}", "--max-failed", "5", "--max-failed", "5"], "--max-failed: is given more than once"),
    (["review", "export", "{root}", "--to", "{root}", "--to={root}"], "--to: is given more than once"),
]


@pytest.mark.parametrize(("arguments", "told"), WRONG_USE, ids=[" ".join(words[3:] or words) for words, _ in WRONG_USE])
def test_wrong_use_is_exit_2_and_one_line(call, two_pictures, tmp_path, arguments, told):
    ended = call(*(word.format(source=two_pictures, root=tmp_path / "labels") for word in arguments))
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert ended.err.startswith("ferflow: ")
    assert told in ended.err
    assert "secret" not in ended.err
    assert not (tmp_path / "labels").exists()


@pytest.mark.parametrize("more", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_a_root_inside_the_source_is_refused_through_links_and_home(call, commands, tmp_path, monkeypatch, more):
    photos = commands.home / "photos"
    photos.mkdir()
    (photos / "a.jpg").touch()
    (tmp_path / "link").symlink_to(photos)
    for source, root in ((photos, tmp_path / "link" / "labels"), (tmp_path / "link", photos / "labels"), ("~/photos", photos / "labels")):
        ended = call("label", source, "--to", root, *more)
        assert (ended.code, "inside the source" in ended.err) == (2, True), ended.err
        assert list(photos.iterdir()) == [photos / "a.jpg"]


def test_a_dry_run_refuses_an_id_that_the_run_refuses(call, labelled):
    ended = call("label", labelled.source, "--to", labelled.root, "--run-id", "first", "--dry-run")
    assert (ended.code, "run first is committed: choose another id" in ended.err) == (1, True)


def test_a_server_of_prefect_is_found_without_its_api(on_server, prefect_url, two_pictures, tmp_path):
    address = prefect_url.removesuffix("/api")
    ended = on_server.run("label", two_pictures, "--to", tmp_path / "labels", env={"PREFECT_API_URL": address})
    assert (ended.code, ended.line) == (1, f"ferflow: {address} (PREFECT_API_URL) is a Prefect server, its API is {prefect_url}")


def test_home_is_expanded_wherever_something_is_written(call, commands, labelled, tmp_path, monkeypatch):
    """A shell does it for words alone, systemd for none."""
    monkeypatch.chdir(tmp_path)
    for words, made in (
        (("export", "current", labelled.root, "--to=~/newest"), "newest"),
        (("report", labelled.root, "--to=~/report.html"), "report.html"),
        (("gallery", labelled.root, "--to=~/gallery.html", "--png=~/gallery.png"), "gallery.png"),
        (("review", "export", labelled.root, "--to=~/review"), "review"),
    ):
        assert call(*words).code == 0
        assert (commands.home / made).exists()
    assert call("verify", "~/newest").err.startswith(f"ferflow: there is no run in {commands.home}/newest")
    check_label(LabelParams(source=str(labelled.source), to="~/labels"))
    assert (commands.home / "labels").is_dir()
    assert not (tmp_path / "~").exists()
    assert open_store("./~/labels").root == f"{tmp_path}/~/labels"
    assert open_store("~no-such-user/labels").root == f"{tmp_path}/~no-such-user/labels"


def test_the_command_ends_with_2_as_well(commands, tmp_path):
    for words in (("label", tmp_path), ("label", tmp_path, "--to", "s3://key:secret@bucket/labels")):
        ended = commands.run(*words)
        assert (ended.code, ended.err.count("\n"), ended.out) == (2, 1, "")
        assert ended.err.startswith("ferflow: ")
        assert "secret" not in ended.err


FAILURES = [
    (["label", "{tmp}/nothing", "--to", "{root}"], "there is no"),
    (["label", "{tmp}/empty", "--to", "{root}"], "there is nothing in"),
    (["label", "{tmp}/empty.txt", "--to", "{root}"], "{tmp}/empty.txt"),
    (["label", "{tmp}/*.jpg", "--to", "{root}"], "no file matches"),
    (["label", "{source}", "--to", "{tmp}/empty.txt"], "cannot write to"),
    (["label", "{source}", "--to", "{tmp}/empty.txt/below"], "cannot write to"),
    (["label", "{source}", "--to", "{root}", "--model", "gpt"], "unknown model"),
    (["label", "{source}", "--to", "{root}", "--detector", "yunet:{tmp}/none.onnx"], "detector file not found"),
    (["label", "{source}", "--to", "{root}", "--cluster", "tcp://127.0.0.1:9"], "no Dask scheduler answers at tcp://127.0.0.1:9"),
    (["label", "{source}", "--to", "{root}", "--resume", "nobody"], "unknown run: nobody"),
    (["verify", "{tmp}/empty"], "there is no run in"),
    (["verify", "{tmp}/nothing"], "there is no run in"),
    (["gallery", "{tmp}/empty", "--to", "{tmp}/page.html"], "run"),
]


@pytest.mark.parametrize(("arguments", "told"), FAILURES, ids=[" ".join(words) for words, _ in FAILURES])
def test_a_failure_is_exit_1_and_one_line(call, commands, two_pictures, tmp_path, arguments, told):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").touch()
    names = {"source": two_pictures, "root": tmp_path / "labels", "tmp": tmp_path}
    ended = call(*(word.format(**names) for word in arguments))
    assert ended.code == 1
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err.startswith("ferflow: ")
    assert told.format(**names) in ended.err
    assert not ended.out
    assert not (commands.home / ".prefect").exists()


def test_a_failure_with_json_is_an_object_too(commands, tmp_path):
    ended = commands.run("label", tmp_path / "nothing", "--to", tmp_path / "labels", "--json")
    assert ended.code == 1
    assert "there is no" in ended.json["error"]
    assert ended.err.count("\n") == 1
    assert ended.err.startswith("ferflow: ")
    assert not (commands.home / ".prefect").exists()


def test_a_server_that_does_not_answer_is_said_at_once(commands, two_pictures, tmp_path):
    environment = {"PREFECT_API_URL": "http://user:secret@127.0.0.1:9/api"}
    ended = commands.run("label", two_pictures, "--to", tmp_path / "labels", env=environment)
    assert ended.code == 1
    assert "http://127.0.0.1:9/api (PREFECT_API_URL) does not answer" in ended.line
    assert "secret" not in ended.err
    commands.wait_until_gone()


def test_an_api_that_cannot_start_is_one_line(commands, two_pictures, tmp_path):
    (commands.home / ".prefect").write_text("not a folder")
    ended = commands.run("label", two_pictures, "--to", tmp_path / "labels")
    assert ended.code == 1
    assert "Prefect cannot keep its database in" in ended.line
    (commands.home / ".prefect").unlink()
    (commands.home / ".prefect").mkdir()
    (commands.home / ".prefect" / "prefect.db").write_bytes(b"certainly no database" * 1000)
    words = [sys.executable, "-P", "-c", START]
    started = subprocess.run(words, env=commands.environment(), cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280)
    assert started.returncode == 1
    (line,) = started.stderr.splitlines()
    assert "the Prefect API did not start: " in line
    assert "file is not a database" in line
    commands.wait_until_gone()


def test_detectors_are_listed_with_licences(call):
    ended = call("detectors", "list", "--json")
    assert ended.code == 0
    found = {row["detector"]: row for row in ended.json["detectors"]}
    assert found["builtin"]["present"] is True
    assert "non-commercial" in found["scrfd:FILE"]["licence"]
    assert ended.json["auto"] == "builtin"
    assert "non-commercial" in call("detectors", "list").out


def test_two_pictures_are_labelled_in_an_empty_home(labelled):
    ended = labelled.ended
    assert ended.code == 0, ended.err
    said = ended.json
    assert said["run_id"] == "first"
    assert said["images"]["labeled"] == 2
    assert sum(said["images"].values()) == said["listed"] == 2
    assert said["unchanged"] == 0
    assert said["faces"] >= 3
    assert 0 < said["startup_seconds"] < said["seconds"]
    assert said["images_per_second"] == pytest.approx(2 / said["seconds"], rel=0.01, abs=0.001)
    assert said["steady_images_per_second"] > said["images_per_second"]
    assert json.loads(Path(said["manifest"]).read_text())["run_id"] == "first"
    assert "detector: builtin (chosen by auto)" in ended.err
    assert len(list(labelled.root.glob("labels/run_date=*/run=first/part-*.parquet"))) == 1, "the parts of both shards are one file"
    assert not [path for path in (labelled.root / "_staging").rglob("*") if path.is_file()]
    labelled.commands.wait_until_gone()


def test_verify_says_ok_and_then_what_is_wrong(call, labelled, tmp_path):
    good = call("verify", labelled.root, "--json")
    assert good.code == 0
    assert good.json["ok"] is True
    assert {"runs", "parts", "rows", "problems"} <= good.json.keys()
    copy = tmp_path / "copy"
    shutil.copytree(labelled.root, copy)
    next(copy.glob("labels/**/*.parquet")).unlink()
    bad = call("verify", copy, "--json")
    assert bad.code == 1
    assert bad.json["ok"] is False
    assert len(bad.json["problems"]) == 1
    assert "missing" in call("verify", copy).out


def test_a_run_id_is_taken_once(call, labelled):
    ended = call("label", labelled.source, "--to", labelled.root, "--run-id", "first")
    assert ended.code == 1
    assert "first is committed: choose another id" in ended.line


def test_resuming_what_is_committed_does_nothing(call, labelled):
    before = sorted(labelled.root.rglob("*"))
    ended = call("label", labelled.source, "--to", labelled.root, "--resume", "first", "--json")
    assert ended.code == 0
    assert ended.json["run_id"] == "first"
    assert sorted(labelled.root.rglob("*")) == before


def test_resuming_takes_the_same_source(call, labelled, tmp_path):
    ended = call("label", tmp_path, "--to", labelled.root, "--resume", "first")
    assert ended.code == 2
    assert "the same source" in ended.line


def test_a_dry_run_says_what_would_be_read_and_writes_nothing(call, labelled, tmp_path):
    ended = call("label", labelled.source, "--to", labelled.root, "--dry-run", "--json")
    assert ended.code == 0
    assert (ended.json["listed"], ended.json["unchanged"], ended.json["to_read"], ended.json["bytes"]) == (2, 2, 0, 0)
    fresh = call("label", labelled.source, "--to", tmp_path / "fresh", "--dry-run", "--json")
    size = sum(file.stat().st_size for file in labelled.source.iterdir())
    assert (fresh.json["to_read"], fresh.json["bytes"]) == (2, size)
    assert fresh.json["expected_minutes"] > 0
    assert not (tmp_path / "fresh").exists()
    assert "to read" in call("label", labelled.source, "--to", tmp_path / "fresh", "--dry-run").out


def test_how_a_source_is_listed(call, labelled, tmp_path):
    source = tmp_path / "album"
    shutil.copytree(labelled.source, source)
    (source / "elsewhere").symlink_to(labelled.source)
    words = ["label", source, "--to", tmp_path / "labels", "--dry-run", "--json"]
    counts = [[call(*words, *more).json[name] for name in ("listed", "excluded")] for more in ((), ("--follow-links",))]
    assert counts == [[2, 1], [4, 0]]
    (tmp_path / "list.csv").write_text("uri\n" + "".join(f"{number}.jpg\n" for number in range(9)))
    ended = call("label", tmp_path / "list.csv", "--to", tmp_path / "labels", "--max-list-rows", 8)
    assert (ended.code, "more than 8 rows" in ended.line) == (1, True)
    assert not (tmp_path / "labels").exists()
    values = {"source": "/photos", "to": "/labels", "follow_links": True, "max_list_rows": 8, "max_list_bytes": 9}
    assert parse_params(LabelParams, values).source_options == SourceOptions(True, ListLimits(8, 9))
    for name in ("max_list_rows", "max_list_bytes"):
        with pytest.raises(UsageError, match=name.replace("_", "-")):
            parse_params(LabelParams, {**values, name: 0})
