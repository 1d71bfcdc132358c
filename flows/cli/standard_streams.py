"""Standard input, output and error of the command. A reader that has left, a full disk or a closed terminal changes neither what a command
does nor its exit code.
"""

import io
import os
import sys
from collections.abc import Callable
from select import select
from typing import TYPE_CHECKING, Final, TextIO

from flows.output import print_line

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

INPUT: Final = 0
OUTPUT: Final = 1
ERROR: Final = 2


class LossyOutput(io.FileIO):
    """A descriptor that drops what cannot be written."""

    def __init__(self, descriptor: int, report: Callable[[OSError], None]) -> None:
        """report: called with the first error."""
        super().__init__(descriptor, "wb", closefd=False)
        self._report: Callable[[OSError], None] | None = report

    def write(self, data: "ReadableBuffer", /) -> int:
        """The number of bytes that were written or dropped."""
        try:
            while (written := super().write(data)) is None:  # another process, such as Node.js, has made the pipe non-blocking
                select([], [self], [])
        except OSError as error:
            report, self._report = self._report, None
            if report is not None:
                report(error)
            return memoryview(data).nbytes
        return written


def guard() -> None:
    """Replace the streams of this process before anything is written.

    A closed descriptor becomes the null device: else the next file that is opened gets its number, and output of libraries is written into
    it. Characters that the terminal's encoding lacks are written as escapes.
    """
    for number in (INPUT, OUTPUT, ERROR):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number, which is this one
    if sys.stdin is None:
        sys.stdin = open(INPUT, closefd=False, encoding="utf-8")  # noqa: SIM115  (for the whole process)
    sys.stdout = _text(OUTPUT, sys.stdout, _report_loss)
    sys.stderr = _text(ERROR, sys.stderr, lambda error: None)


def _text(number: int, replaced: TextIO | None, report: Callable[[OSError], None]) -> TextIO:
    """replaced: None where Python found the descriptor closed."""
    encoding = "utf-8" if replaced is None else replaced.encoding
    raw = LossyOutput(number, report)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=number == ERROR or raw.isatty())


def _report_loss(error: OSError) -> None:
    if not isinstance(error, BrokenPipeError):  # the reader has left on purpose, as `head` does
        print_line(f"ferflow: standard output was lost: {error.strerror}")
