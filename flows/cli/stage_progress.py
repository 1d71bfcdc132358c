"""Progress on standard error of commands that may take longer than half a minute."""

import sys
import time
from collections.abc import Callable
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Final, Self

from flows.output import print_line
from tasks.execution.progress import counted

LINE_SECONDS: Final = 10.0
"""Between two lines that differ."""
BEAT_SECONDS: Final = 30.0
"""After which the last line is repeated with the elapsed time: listing and planning may take long without a count."""
REWRITE_SECONDS: Final = 1.0
"""Between two states of the line on a terminal."""


class PacedLines:
    """A line when the last one is `LINE_SECONDS` old; without a change the same again every `BEAT_SECONDS`, from a thread of its own."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = self._written = clock()
        self._line = ""
        self._lock, self._stopped = Lock(), Event()
        self._thread = Thread(target=self._beats, name="progress lines", daemon=True)

    def show(self, line: str) -> None:
        """Keep the line, and write it if it is due."""
        with self._lock:
            self._line = line
            self._write_after(LINE_SECONDS)

    def beat(self) -> None:
        """Write the stored line if nothing was written for `BEAT_SECONDS`."""
        with self._lock:
            self._write_after(BEAT_SECONDS)

    def _write_after(self, seconds: float) -> None:
        now = self._clock()
        if self._line and now - self._written >= seconds:
            self._written = now
            print_line(f"{self._line}, {duration(now - self._started)} elapsed")

    def _beats(self) -> None:
        while not self._stopped.wait(LINE_SECONDS):
            self.beat()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopped.set()
        self._thread.join()


class StageProgress:
    """The stages of a command and their counts: `located faces: 1,200 of 5,000 (24 %)`. A context manager.

    One line that is rewritten on a terminal, `PacedLines` elsewhere.
    """

    clock: Callable[[], float] = staticmethod(time.monotonic)
    """Of all commands: a command makes its own instance."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or self.clock
        self._rewritten = self._clock()
        self._lines = None if sys.stderr.isatty() else PacedLines(self._clock)
        self._stage, self._line, self._is_open = "", "", False

    def __call__(self, stage: str, done: int | None = None, total: int | None = None) -> None:
        """done, total: counts of the stage, where they are known."""
        line = counted(stage, done, total)
        if self._lines is not None:
            self._lines.show(line)
            return
        if stage != self._stage:
            self._end_line()
        self._stage, self._line = stage, line
        if self._clock() - self._rewritten >= REWRITE_SECONDS:
            self._rewritten = self._clock()
            print_line(line, start="\r", end="")
            self._is_open = True

    def _end_line(self) -> None:
        if self._is_open:
            print_line(self._line, start="\r")
            self._is_open = False

    def __enter__(self) -> Self:
        if self._lines is not None:
            self._lines.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._lines is not None:
            self._lines.__exit__(kind, error, trace)
        self._end_line()


def duration(seconds: float) -> str:
    """`1:05`, `2:00:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
