"""Busy seconds by stage, for the receipts."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

STAGES: Final[tuple[str, ...]] = ("load", "read", "decode", "detect", "align", "predict", "write")
"""Stages of a shard, in their order."""


class Stopwatch:
    """Adds up wall-clock seconds under the names of stages. Not shared between threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs inside, also when it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start
