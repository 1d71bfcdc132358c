"""`ferflow export` as people use it."""

import duckdb
import pytest

from tests.support import histories
from tests.support.histories import Night, labeled
from tests.support.processes import in_process

NIGHTS = [Night("a", 0, {"/x": labeled(1), "/y": labeled(2)}), Night("b", 1, {"/x": labeled(3)})]


@pytest.fixture
def root(tmp_path):
    for night in NIGHTS:
        histories.commit(tmp_path / "labels", night)
    return tmp_path / "labels"


def test_current_as_a_file(commands, root, tmp_path):
    ended = commands.run("export", "current", root, "--to", tmp_path / "current")
    file = tmp_path / "current" / "current.parquet"
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"wrote {file}: 5 faces in 2 images, from 2 runs\n"
    found = commands.run("export", "current", root, "--to", tmp_path / "current", "--json").json
    assert found == {"file": str(file), "faces": 5, "images": 2, "runs": 2, "deleted": 0, "bytes": file.stat().st_size}
    assert duckdb.connect().sql(f"SELECT count(*), count(DISTINCT run_id) FROM '{file}'").fetchall() == [(5, 2)]


@pytest.mark.parametrize("ending", ["csv", "parquet", "arrow"])
def test_current_as_a_file_by_its_ending(call, root, tmp_path, ending):
    file = tmp_path / f"x.{ending}"
    for _ in range(2):
        ended = call("export", "current", root, "--to", file)
        assert (ended.code, ended.out) == (0, f"wrote {file}: 5 faces in 2 images, from 2 runs\n")
    assert call("export", "current", root, "--to", file, "--json").json["bytes"] == file.stat().st_size
    file.write_text("mine")
    ended = call("export", "current", root, "--to", file)
    assert (ended.code, ended.err) == (1, f"ferflow: {file} is no earlier export: choose another place\n")
    assert file.read_text() == "mine"


def test_current_as_views(commands, root):
    ended = commands.run("export", "current", root, "--sql")
    assert ended.code == 0
    with duckdb.connect() as database:
        database.execute(ended.out)
        assert database.sql("SELECT count(*) FROM current").fetchall() == [(5,)]
    assert commands.run("export", "current", root, "--sql", "--json").json["sql"] == ended.out.rstrip("\n")


def test_a_delta_table(commands, root):
    pytest.importorskip("deltalake", reason="the extra `delta` is not installed")
    ended = commands.run("export", "delta", root)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"{root}/_meta/delta/labels is at version 1: 2 new runs, 2 files\n"
    found = commands.run("export", "delta", root, "--table", "images", "--json").json
    assert found == {"table": f"{root}/_meta/delta/images", "version": 1, "runs": ["a", "b"], "parts": 2}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["current", "{root}"], 2, "--to"),
        (["current", "{root}", "--to", "{tmp}/x", "--sql"], 2, "not allowed with"),
        (["current", "{root}", "--to", "{root}/labels/x"], 2, "inside the labels root"),
        (["delta", "{root}", "--table", "faces"], 2, "invalid choice"),
        (["current", "{root}", "--to", "{tmp}"], 1, "is neither empty nor an earlier export"),
        (["current", "{tmp}/nothing", "--to", "{tmp}/x"], 1, "no run has been committed"),
        (["delta", "{tmp}/nothing"], 1, "no run that wrote labels has been committed"),
    ],
)
def test_what_goes_wrong_is_one_line(root, tmp_path, capsys, arguments, code, told):
    ended = in_process(capsys, "export", *(word.format(root=root, tmp=tmp_path) for word in arguments))
    assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1)
    assert ended.err.startswith("ferflow: ")
    assert told in ended.err
    assert not (tmp_path / "x").exists()
