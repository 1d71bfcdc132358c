"""`ferflow query ROOT` on a real terminal: keys that a person presses, and what stands there afterwards."""

import os
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import time

import psutil
import pytest

from tests.support import fakes
from tests.support.processes import FERFLOW, PATIENCE

pytest.importorskip("readline", reason="this Python has no readline")
LONG = "SELECT count(*) FROM range(1_000_000_000_000) t(i) WHERE hash(i) % 7 = 3;"
ATTACH = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"
"""Makes it the command's own terminal, so that Ctrl-C is a signal."""
CTRL_C, CTRL_D, UP = "\x03", "\x04", "\x1b[A"


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, words, environment, cwd):
        self._own, other = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", ATTACH, *FERFLOW, *map(str, words)],
            stdin=other,
            stdout=other,
            stderr=other,
            env={**environment, "TERM": "xterm", "INPUTRC": "/dev/null"},
            cwd=cwd,
        )
        os.close(other)
        self.said = ""

    def press(self, keys):
        os.write(self._own, keys.encode())

    def until(self, text):
        """What has come since the last call, as far as `text`."""
        end = time.monotonic() + PATIENCE
        while text not in self.said:
            assert time.monotonic() < end, self.said
            if select.select([self._own], [], [], 1)[0]:
                try:
                    self.said += re.sub(r"\x1b\[\?2004[hl]\r?", "", os.read(self._own, 65536).decode(errors="replace"))
                except OSError as error:  # the command has ended
                    raise AssertionError(self.said) from error
        found, _, self.said = self.said.partition(text)
        return found

    def computing(self, seconds=2.0):
        """Wait until the command has taken so much more of the processor than it has now."""
        running = psutil.Process(self.process.pid)
        goal, end = running.cpu_times().user + seconds, time.monotonic() + PATIENCE
        while running.cpu_times().user < goal:
            assert time.monotonic() < end
            time.sleep(0.05)

    def end(self):
        """The exit code. What is still said is dropped."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end
            if select.select([self._own], [], [], 0.1)[0]:
                try:
                    self.said += os.read(self._own, 65536).decode(errors="replace")
                except OSError:
                    break
        return self.process.wait(PATIENCE)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._own)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompt")
    fakes.label(fakes.config(folder / "labels"), fakes.refs(fakes.write_pictures(folder / "photos", [1, 2, 3, 0])))
    return folder / "labels"


@pytest.fixture
def terminal(root, tmp_path):
    opened = []

    def start(*words):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")} | {"HOME": str(tmp_path)}
        opened.append(Terminal(["query", root, *words], environment, tmp_path))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.mark.slow
def test_a_session_of_a_person(terminal, tmp_path, root):
    asked = terminal()
    assert "Views: labels, images, current, runs, reviews, models." in asked.until("ferflow> ")
    asked.press("SELECT count(*) AS n\n")
    asked.until("...> ")
    asked.press("FROM current;\n")
    assert "\r\n6\r\n(1 row)" in asked.until("ferflow> ")
    asked.press("SELECT run_id, model_n\t")
    asked.until("model_name")
    asked.press(" fro\t")
    asked.until("FROM")
    asked.press(" runs;\n")
    assert "run-a" in asked.until("ferflow> ")
    asked.press("SELEC;\n")
    assert "ferflow: Parser Error: syntax error" in asked.until("ferflow> ")
    asked.press("COPY labels TO 'x';\n")
    assert "only queries are run" in asked.until("ferflow> ")
    asked.press("half a line" + CTRL_C)
    assert "interrupted" in asked.until("ferflow> ")
    asked.press(LONG + "\n")
    asked.computing()
    asked.press(CTRL_C)
    assert "interrupted" in asked.until("ferflow> ")
    asked.press("FROM range(2000);\n")
    assert "(1,000 rows)" in asked.until("there are more rows")
    asked.until("ferflow> ")
    asked.press(CTRL_D)
    assert asked.end() == 0
    assert list(tmp_path.iterdir()) == [tmp_path / ".local"]
    kept = tmp_path / ".local/state/ferflow/query-history"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (kept, kept.parent)] == [0o600, 0o700]
    assert kept.read_text().splitlines()[:2] == ["SELECT count(*) AS n FROM current", "SELECT run_id, model_name FROM runs"]
    again = terminal("--format", "csv")
    again.until("ferflow> ")
    again.press(UP)
    again.until("FROM range(2000)")
    again.press("\x15SELECT 1 AS one;\n")
    assert '"one"\r\n1\r\n' in again.until("ferflow> ")
    again.press("exit\n")
    assert again.end() == 0


@pytest.mark.slow
def test_sigterm_ends_the_prompt(terminal):
    """Regression: between the prompt and the wait for a key, it was not answered until a key was pressed."""
    asked = terminal()
    asked.until("ferflow> ")
    os.kill(asked.process.pid, signal.SIGTERM)
    assert asked.end() == 1


@pytest.mark.slow
def test_a_home_that_cannot_be_written(terminal, tmp_path):
    (tmp_path / ".local").write_text("a file")
    asked = terminal()
    asked.until("ferflow> ")
    asked.press("SELECT 40 + 2 AS n;\n")
    assert "42" in asked.until("ferflow> ")
    asked.press(CTRL_D)
    assert asked.end() == 0


@pytest.mark.slow
@pytest.mark.parametrize("words", [("--json",), ("--to", "x.csv"), ("",)])
def test_what_needs_a_query_says_so(terminal, words):
    asked = terminal(*words)
    assert asked.end() == 2
    assert "no query" in asked.said
