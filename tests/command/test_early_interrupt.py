"""Ctrl-C before the command handles signals: one line, no traceback. A pipe that replaces a module says when its import has begun."""

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = "import sys; from flows.cli.entry import main; sys.exit(main())"
"""As pip writes it."""
PATIENCE = 120


def started(folder, *words, script=SCRIPT):
    """The process, which waits within its imports: for the other end of a pipe."""
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    (folder / "argparse.py").write_text(f"open({str(pipe)!r}).read()\n")
    path = os.pathsep.join([str(folder), str(REPOSITORY)])
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", script, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    return process, open(pipe, "w")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_within_the_imports_ends_it_in_one_line(tmp_path, number):
    process, pipe = started(tmp_path, "label", "photos", "--to", "labels", "--json")
    with pipe:
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (1, '{"error": "interrupted"}\n', "ferflow: interrupted\n")


def test_without_json_the_line_is_all(tmp_path):
    process, pipe = started(tmp_path, "verify", "labels")
    with pipe:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (1, "", "ferflow: interrupted\n")


def test_a_worker_that_imports_the_script_keeps_its_signals():
    code = "import flows.cli.entry, signal, sys; assert 'flows.cli.main' not in sys.modules; print(signal.getsignal(signal.SIGINT))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=REPOSITORY)
    assert "default_int_handler" in done.stdout


def test_the_command_starts_there():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["scripts"] == {"ferflow": "flows.cli.entry:main"}
