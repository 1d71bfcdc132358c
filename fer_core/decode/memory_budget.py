"""Budget of pixels in memory, granted to pictures in their order."""

from collections.abc import Callable
from threading import Condition


class BudgetClosedError(Exception):
    """The consumer needs no more pictures."""


class PixelBudget:
    """Pictures are decoded in several threads and used in one, in order. A later one never holds pixels that an earlier one waits for."""

    def __init__(self, limit: int) -> None:
        """limit: pixels together; a larger picture gets them while no other holds any."""
        self._limit, self._used, self._turn = limit, 0, 0
        self._skipped: set[int] = set()
        self._closed, self._short = False, False
        self._changed = Condition()

    def take(self, turn: int, pixels: int) -> None:
        """Wait until all earlier turns are over and there is room. turn: 0, 1, 2, ... BudgetClosedError once it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._turn == turn)
            while not self._closed and not self._fits(pixels):
                if not self._short:
                    self._short = True
                    self._changed.notify_all()
                self._changed.wait()
            if self._closed:
                raise BudgetClosedError
            self._used, self._short = self._used + pixels, False
            self._over()

    def wait(self, turn: int, done: Callable[[], bool]) -> bool:
        """Wait until `done`, which is checked at each `notify`, or until this turn is short of pixels. Returns whether it is done."""
        with self._changed:
            self._changed.wait_for(lambda: done() or (self._short and self._turn == turn))
            return done()

    def notify(self) -> None:
        """Wake the waiting threads: a decode may be done."""
        with self._changed:
            self._changed.notify_all()

    def skip(self, turn: int) -> None:
        """This turn needs no pixels. Does nothing where it was over already."""
        with self._changed:
            if turn < self._turn:
                return
            self._skipped.add(turn)
            if turn == self._turn:
                self._over()

    def release(self, pixels: int) -> None:
        """Return the pixels of a picture to the budget."""
        with self._changed:
            self._used -= pixels
            self._short = False  # a thread that still lacks pixels sets it again
            self._changed.notify_all()

    def close(self) -> None:
        """Waiting threads get a BudgetClosedError."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _fits(self, pixels: int) -> bool:
        return self._used == 0 or self._used + pixels <= self._limit

    def _over(self) -> None:
        self._skipped.discard(self._turn)
        self._turn += 1
        while self._turn in self._skipped:
            self._skipped.discard(self._turn)
            self._turn += 1
        self._changed.notify_all()
