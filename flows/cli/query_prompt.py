"""`ferflow query ROOT` on a terminal: one query after another, with history and completion by Python's `readline`."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, ModuleType
from typing import Final

from fer_core.errors import FerflowError
from fer_core.storage.file_mode import OWNER, make_folders
from flows.output import print_line
from tasks.execution import signals

PROMPT, CONTINUED = "ferflow> ", "    ...> "
LEAVE: Final = ("exit", "quit")
HISTORY_LINES: Final = 1_000
LISTEN_SECONDS: Final = 0.2
"""Longest delay of a signal's answer."""
KEYWORDS: Final = (
    "SELECT",
    "DISTINCT",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "ALL",
    "HAVING",
    "ORDER",
    "DESC",
    "LIMIT",
    "JOIN",
    "USING",
    "DESCRIBE",
)


def on_terminal() -> bool:
    """Whether a person can answer a prompt."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def ask(words: Sequence[str], answer: Callable[[str], None]) -> None:
    """Read queries until Ctrl-D, and answer each. A query ends with `;` or an empty line; an error is one line, then comes the next query.

    words: completed by the Tab key. Ctrl-C ends what is typed or computed. KeyboardInterrupt after SIGTERM.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with _editing([*words, *KEYWORDS]) as remember:
            while True:
                try:
                    query = _typed()
                    if query.lower() in LEAVE:
                        return
                    if query:
                        if "--" not in query:  # in one line, a comment would hide what follows it
                            remember(query.replace("\n", " "))
                        answer(query)
                except EOFError:
                    print_line("")
                    return
                except KeyboardInterrupt:
                    signals.raise_if_stop_requested()
                    print_line("interrupted", start="\n")
                except FerflowError as error:
                    print_line(f"ferflow: {' '.join(str(error).split())}")
    finally:
        signal.signal(signal.SIGINT, before)


def history_file() -> Path:
    """Where queries are kept: `$XDG_STATE_HOME/ferflow/query-history`, by default below `~/.local/state`."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state").absolute() / "ferflow" / "query-history"


def _typed() -> str:
    lines = list[str]()
    while True:
        with _listening():
            line = input(CONTINUED if lines else PROMPT).strip()
        lines += [line] if line else []
        if not line or line.endswith(";") or (lines == [line] and line.lower() in LEAVE):
            return "\n".join(lines).rstrip("; \n")


@contextmanager
def _listening() -> Iterator[None]:
    """Inside, a signal is answered at once. `readline` waits for a key without an end, and Python would answer a signal that comes between
    the prompt and that wait at the next key only: a timer ends the wait, which begins again."""
    before = signal.signal(signal.SIGALRM, _continue)
    signal.setitimer(signal.ITIMER_REAL, LISTEN_SECONDS, LISTEN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _continue(_number: int, _frame: FrameType | None) -> None:
    pass


@contextmanager
def _editing(words: Sequence[str]) -> Iterator[Callable[[str], None]]:
    """Inside, `input` edits lines, where this Python has `readline`. Gives what adds a query to the history, which is its owner's alone."""
    try:
        import readline
    except ImportError:  # of a Python that was built without
        yield lambda query: None
        return
    _complete(readline, words)
    readline.set_auto_history(False)
    readline.set_history_length(HISTORY_LINES)
    file = history_file()
    with suppress(OSError):  # there is none yet, or it cannot be read: the prompt works without
        readline.read_history_file(file)
    try:
        yield readline.add_history
    finally:
        with suppress(OSError):
            make_folders(str(file.parent), OWNER)
            readline.write_history_file(file)
            file.chmod(OWNER.file)


def _complete(readline: ModuleType, words: Sequence[str]) -> None:
    found = list[str]()

    def candidate(start: str, number: int) -> str | None:
        if number == 0:
            found[:] = sorted({word for word in words if word.lower().startswith(start.lower())})
        return found[number] if number < len(found) else None

    readline.set_completer(candidate)
    readline.set_completer_delims(" \t\n,.;()=<>!+-*/%'\"[]:")
    readline.parse_and_bind("bind ^I rl_complete" if "libedit" in (readline.__doc__ or "") else "tab: complete")
