"""Capacities for numbers that are known on the device alone: enough for the latest batches, doubled when one exceeds it."""

from collections import deque
from typing import Final

LATELY: Final = 8
"""Batches that count."""


class Capacity:
    """A power of two between two bounds, at least the largest number of the latest batches, so that crowds in a row cost one repetition."""

    def __init__(self, least: int, most: int) -> None:
        self._least, self.most = least, most
        self._seen: deque[int] = deque([least], maxlen=LATELY)

    @property
    def size(self) -> int:
        """Capacity for the next batch."""
        return self.at_least(max(self._seen))

    def at_least(self, count: int) -> int:
        """The capacity for `count`, never above the bound."""
        return min(self.most, max(self._least, 1 << max(0, count - 1).bit_length()))

    def observe(self, count: int) -> None:
        """Record the number of the last batch."""
        self._seen.append(count)
