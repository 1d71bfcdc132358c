"""Standard streams that cannot be written: the process does its work and ends as it would otherwise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE, REPOSITORY

SAY = """
import sys
from flows.cli.standard_streams import guard
guard()
from flows.output import print_line, print_result
print_result({json}, {{"name": "zażółć 🎂"}}, "zażółć 🎂")
print_result({json}, {{}}, "more")
print_line("zażółć")
print_line("done")
sys.exit(7)
"""
LOST = "ferflow: standard output was lost: No space left on device"


def say(json=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", closed=""):
    """closed: redirections of a shell."""
    words = [sys.executable, "-c", SAY.format(json=json)]
    if closed:
        words = ["sh", "-c", f'exec "$@" {closed}', "sh", *words]
    env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(words, env=env, stdout=stdout, stderr=stderr, check=False, timeout=PATIENCE)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "zażółć 🎂"),
        ("latin-1", "za\\u017c\xf3\\u0142\\u0107 \\U0001f382"),
        ("ascii", "za\\u017c\\xf3\\u0142\\u0107 \\U0001f382"),
    ],
)
def test_characters_that_a_terminal_lacks_are_escaped(encoding, shown):
    ended = say(encoding=encoding)
    assert (ended.returncode, ended.stdout.decode(encoding).splitlines()) == (7, [shown, "more"])
    assert json.loads(say(json=True, encoding=encoding).stdout.decode(encoding).splitlines()[0]) == {"name": "zażółć 🎂"}


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(closed):
    ended = say(closed=closed)
    assert ended.returncode == 7
    assert ended.stderr.decode().splitlines() == ([] if "2>&-" in closed else ["zażółć", "done"])
    assert ended.stdout.decode().splitlines() == ([] if " >&-" in f" {closed}" else ["zażółć 🎂", "more"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line_and_no_failure():
    with open("/dev/full", "wb") as full:
        ended = say(stdout=full)
        assert (ended.returncode, ended.stderr.decode().splitlines()) == (7, [LOST, "zażółć", "done"])
        ended = say(stderr=full)
        assert (ended.returncode, ended.stdout.decode().splitlines()) == (7, ["zażółć 🎂", "more"])
        assert say(stdout=full, stderr=full).returncode == 7


def test_a_reader_that_has_left_is_no_failure():
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = say(stdout=writer)
        assert (ended.returncode, ended.stderr.decode().splitlines()) == (7, ["zażółć", "done"])
        assert say(stdout=writer, stderr=writer).returncode == 7
    finally:
        os.close(writer)


def test_a_closed_terminal_is_no_failure():
    master, terminal = os.openpty()
    os.close(master)
    try:
        assert say(stdout=terminal, stderr=terminal).returncode == 7
    finally:
        os.close(terminal)


def test_a_progress_bar_on_a_closed_terminal_is_no_failure():
    code = """
import sys
from flows.cli.standard_streams import guard
guard()
from flows.cli.progress_bar import Display
from tasks.execution.progress import Progress
with Display() as display:
    sys.stdin.readline()
    display.warn("closed by now")
"""
    master, terminal = os.openpty()
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TERM": "xterm"}
    with subprocess.Popen([sys.executable, "-c", code], env=env, stdin=subprocess.PIPE, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        os.read(master, 1)  # the bar is shown
        os.close(master)
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def test_a_pipe_that_is_not_blocking_gets_everything():
    code = "from flows.cli.standard_streams import guard; guard(); from flows.output import print_result as p; p(False, {}, 'x' * 10**6)"
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen([sys.executable, "-c", code], env=env, stdout=writer) as process, open(reader, "rb") as pipe:
        os.close(writer)
        assert len(pipe.read()) == 10**6 + 1
        assert process.wait(PATIENCE) == 0


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    code = f"from flows.cli.standard_streams import guard; guard(); raise SystemExit(open({str(tmp_path / 'a')!r}, 'w').fileno() < 3)"
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(words, env=env, check=False, timeout=PATIENCE).returncode == 0
