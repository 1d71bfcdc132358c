import os
import subprocess
import sys

import pytest

from flows.cli.demo import answer, demo_pictures, main, typed
from tests.support.fakes import config, label, refs, write_pictures
from tests.support.native_trace import Trace, can_trace
from tests.support.processes import REPOSITORY


def test_the_demonstration_pictures_are_real_and_copied_once(tmp_path):
    files = demo_pictures(tmp_path / "pictures")
    assert [file.name for file in files] == ["astronaut.png", "t1.jpg"]
    assert files[0].read_bytes().startswith(b"\x89PNG")
    assert files[1].read_bytes().startswith(b"\xff\xd8")
    files[0].write_bytes(b"mine")
    demo_pictures(tmp_path / "pictures")
    assert files[0].read_bytes() == b"mine"


def test_the_query_counts_each_picture_once_however_often_it_was_read(tmp_path):
    root = tmp_path / "it's my root"
    folder = write_pictures(tmp_path / "photos", [3, 2])
    first = config(root, "run-a")
    label(first, refs(folder))
    columns, rows = answer(str(root))
    assert columns == ["expression", "faces", "pictures", "mean_confidence", "median_face_px", "to_review"]
    assert sum(row[1] for row in rows) == 5
    from dataclasses import replace

    label(replace(first, run_id="run-b", started_us=first.started_us + 1), refs(folder)[:1])
    assert answer(str(root))[1] == rows


def test_what_is_printed_can_be_typed_into_duckdb(tmp_path, capsys):
    import duckdb

    root = tmp_path / "it's my root"
    label(config(root), refs(write_pictures(tmp_path / "photos", [2])))
    assert duckdb.connect().sql(typed(str(root))).fetchall() == answer(str(root))[1]
    assert main(["query", str(root)]) == 0
    printed = capsys.readouterr().out
    assert typed(str(root)) in printed
    assert "DuckDB's answer" in printed


def test_tables_in_s3_are_read_without_downloading_an_extension(s3_root, tmp_path):
    """DuckDB would fetch its own client from the web, unasked."""
    label(config(s3_root), refs(write_pictures(tmp_path / "photos", [2])))
    home = tmp_path / "home"
    home.mkdir()
    words = [sys.executable, "-P", "-c", "import sys; from flows.cli.demo import answer; print(answer(sys.argv[1]))", s3_root]
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
    trace = Trace(tmp_path / "trace")
    done = subprocess.run(trace.of(words) if can_trace() else words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "faces" in done.stdout
    assert not list(home.iterdir())
    assert not can_trace() or trace.outside() == []


def test_a_root_without_faces_says_so(tmp_path, capsys):
    label(config(tmp_path / "root"), refs(write_pictures(tmp_path / "photos", [0])))
    assert main(["query", str(tmp_path / "root")]) == 0
    assert "no labelled face" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["pictures"], ["what", "x"]])
def test_wrong_use_is_told(arguments, capsys):
    assert main(arguments) == 2
    assert "usage" in capsys.readouterr().err


def test_a_missing_picture_is_one_clear_line(tmp_path, capsys, monkeypatch):
    (tmp_path / "installed" / "skimage").mkdir(parents=True)
    (tmp_path / "installed" / "skimage" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "installed")
    monkeypatch.delitem(sys.modules, "skimage", raising=False)
    assert main(["pictures", str(tmp_path / "photos")]) == 1
    assert "skimage is installed without its image" in capsys.readouterr().err
    assert not list((tmp_path / "photos").iterdir())
