"""How many pixels may be in memory at a time, granted to pictures in their order."""

from threading import Condition


class BudgetClosedError(Exception):
    """Nobody wants the pictures any more."""


class PixelBudget:
    """Pictures are decoded in several threads and used in one, in order. A later one never holds what an earlier one waits for."""

    def __init__(self, limit: int) -> None:
        """limit: pixels together; a picture of more gets them while nobody else has any."""
        self._limit, self._used, self._turn = limit, 0, 0
        self._skipped: set[int] = set()
        self._closed = False
        self._changed = Condition()

    def take(self, turn: int, pixels: int) -> None:
        """Wait until all earlier turns are over and there is room. turn: 0, 1, 2, ... BudgetClosedError once it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._turn == turn and self._fits(pixels)))
            if self._closed:
                raise BudgetClosedError
            self._used += pixels
            self._over()

    def skip(self, turn: int) -> None:
        """This turn needs none. Does nothing where it was over already."""
        with self._changed:
            if turn < self._turn:
                return
            self._skipped.add(turn)
            if turn == self._turn:
                self._over()

    def give_back(self, pixels: int) -> None:
        """What a picture had is free again."""
        with self._changed:
            self._used -= pixels
            self._changed.notify_all()

    def close(self) -> None:
        """Whoever waits, waits in vain."""
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
