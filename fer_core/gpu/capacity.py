"""How much room to set aside for what only the device knows: enough for what came lately, and doubled when it did not suffice."""

from collections import deque
from typing import Final

LATELY: Final = 8
"""Batches that are remembered."""


class Capacity:
    """A power of two between two bounds; what was seen lately fits, so that crowds in a row cost one repetition, not one each."""

    def __init__(self, least: int, most: int) -> None:
        self._least, self.most = least, most
        self._seen: deque[int] = deque([least], maxlen=LATELY)

    @property
    def size(self) -> int:
        """Room for the next batch."""
        return self.at_least(max(self._seen))

    def at_least(self, count: int) -> int:
        """The room to take for `count`, never above the bound."""
        return min(self.most, max(self._least, 1 << max(0, count - 1).bit_length()))

    def observe(self, count: int) -> None:
        """So many there were in the last batch."""
        self._seen.append(count)
