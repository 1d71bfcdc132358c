"""`ferflow query`: questions as a person asks them, in each format."""

import csv
import io
import json
import os
import signal
import time

import psutil
import pyarrow.parquet as pq
import pytest

from tests.support import fakes
from tests.support.processes import PATIENCE

COMPUTING_SECONDS = 6
"""Of the processor: more than the command's start takes."""
FACES = "SELECT expression, count(*) AS faces, sum(face_index) AS s, [1, 2] AS l FROM current GROUP BY ALL ORDER BY expression"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("query")
    photos = fakes.write_pictures(folder / "photos", [1, 2, 3, 0])
    (photos / "image-001.png").rename(photos / 'naïve\x1b, "b"\n.png')
    fakes.label(fakes.config(folder / "labels"), fakes.refs(photos))
    return folder / "labels"


def test_a_table_csv_and_json(call, root):
    shown = call("query", root, "SELECT run_id, 0.9231::FLOAT AS f, NULL AS n FROM runs")
    assert shown.code == 0
    assert shown.out.split("\n") == ["run_id  f       n", "------  ------  -", "run-a   0.9231", "(1 row)", ""]
    found = json.loads(call("query", root, FACES, "--format", "json").out)
    assert sum(row["faces"] for row in found) == 6
    assert found[0]["l"] == [1, 2]
    text = call("query", root, FACES, "--format", "csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["expression"], int(row["faces"]), int(row["s"])) for row in rows] == [(r["expression"], r["faces"], r["s"]) for r in found]
    whole = call("query", root, FACES, "--json").json
    assert whole == {"columns": ["expression", "faces", "s", "l"], "rows": len(found), "data": found}
    assert call("query", root, "FROM labels WHERE false", "--format", "json").json == []
    assert call("query", root, "SELECT run_id FROM runs WHERE false", "--format", "csv").out == '"run_id"\n'


@pytest.mark.parametrize("kind", ["table", "csv", "json"])
def test_names_never_control_the_terminal(call, root, kind):
    shown = call("query", root, "SELECT parse_filename(image_uri) AS name FROM images", "--format", kind)
    assert "\x1b" not in shown.out
    assert "naïve" in shown.out


def test_files(call, root, tmp_path):
    for kind in ("csv", "json", "parquet"):
        ended = call("query", root, "FROM current", "--to", tmp_path / f"x.{kind}")
        assert (ended.code, ended.out) == (0, f"wrote {tmp_path}/x.{kind}: 6 rows\n")
    assert pq.read_table(tmp_path / "x.parquet").num_rows == len(json.loads((tmp_path / "x.json").read_text())) == 6
    with open(tmp_path / "x.csv", newline="") as stream:
        assert {row["image_uri"] for row in csv.DictReader(stream)} == set(pq.read_table(tmp_path / "x.parquet")["image_uri"].to_pylist())
    assert call("query", root, "FROM runs", "--to", tmp_path / "x", "--format", "csv", "--json").json["rows"] == 1


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((), 2, "no query"),
        (("  ",), 2, "no query"),
        (("FROM labels", "--format", "parquet"), 2, "--to"),
        (("FROM labels", "--to", "{root}/x.csv"), 2, "inside the labels root"),
        (("FROM labels", "--to", "/"), 2, "file name"),
        (("FROM labels", "--to", "x.xlsx"), 2, "no format belongs to .xlsx: end --to in .csv, .json, .parquet or .txt"),
        (("COPY labels TO 'x.csv'",), 2, "only queries"),
        (("SELEC",), 1, "syntax error"),
        (("FROM read_text('/etc/passwd')",), 1, "disabled"),
    ],
)
def test_wrong_use_and_wrong_queries_are_one_line(call, root, words, code, told):
    before = fakes.tree(root)
    ended = call("query", root, *(word.format(root=root) for word in words))
    assert (ended.code, ended.out) == (code, "")
    assert told in ended.err
    assert ended.err.count("\n") == 1
    assert fakes.tree(root) == before


@pytest.mark.slow
def test_ctrl_c_ends_a_query_in_one_line(commands, root):
    process = commands.start("query", root, "FROM range(1_000_000_000_000) t(i)", "--format", "csv")
    assert process.stdout.readline() == '"i"\n'  # so the query is running
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (1, "ferflow: interrupted\n")


@pytest.mark.slow
def test_ctrl_c_ends_a_query_that_has_no_row_yet(commands, root):
    process = commands.start("query", root, "SELECT count(*) FROM range(1_000_000_000_000) t(i) WHERE hash(i) % 7 = 3")
    running, end = psutil.Process(process.pid), time.monotonic() + PATIENCE
    while running.cpu_times().user < COMPUTING_SECONDS:
        assert time.monotonic() < end
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (1, "", "ferflow: interrupted\n")
