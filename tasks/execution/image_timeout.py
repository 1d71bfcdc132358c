"""Limit on the time without progress in a shard. The process that runs the shard checks it, and ends itself when it is exceeded.

A thread that hangs in a library can only be ended together with its process, and from outside a slow image cannot be distinguished from
one that hangs. The limit is on each image, not on the sum: a shard of n images may take n + 2 limits, one that hangs costs a single one.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

IMAGE_SECONDS: Final = 300.0
"""Longest that one image may take. The largest that are decoded (100 megapixels) take some seconds, on a busy old machine a minute."""

_thread = threading.local()


@dataclass(frozen=True, slots=True)
class StepTimeouts:
    """Seconds that steps of the work may take."""

    image: float
    other: float = 120.0
    """Least limit on steps that belong to no image: loading libraries on a cold machine, the network's batches, writing the tables."""
    farewell: float = 1.0
    """Between the event and the end of the process, so that the event is sent."""


class WorkAbandonedError(BaseException):
    """The result of this thread's work is no longer needed. No `Exception`: those become a row of the current image."""


class TimeLimit:
    """Inside, this thread must reach its next image within the limit; otherwise the process ends."""

    def __init__(
        self,
        timeouts: StepTimeouts,
        on_end: Callable[[str | None], None],
        end: Callable[[], None] = lambda: os._exit(1),
        given_up: Callable[[], bool] = lambda: False,
        turned_to: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        """on_end: called in a thread of its own with the URI of the image that exceeds its limit, None for another step.

        end: ends the process. given_up: called at each image; True where the result is no longer needed. turned_to: called before each.
        """
        self._timeouts, self._on_end, self._end, self._given_up, self._turned_to = timeouts, on_end, end, given_up, turned_to
        self._at: tuple[float, str | None] = (0.0, None)
        self._done = threading.Event()
        self._guard = threading.Thread(target=self._watch, name="time-limit", daemon=True)

    def heartbeat(self, image: str | None) -> None:
        """The work begins the next step: an image, or None for any other step. WorkAbandonedError where it is no longer needed."""
        if self._given_up():
            raise WorkAbandonedError
        seconds = max(self._timeouts.image, self._timeouts.other) if image is None else self._timeouts.image
        self._turned_to(image)
        self._at = (time.monotonic() + seconds, image)

    def __enter__(self) -> Self:
        self.heartbeat(None)
        _thread.limit = self
        self._guard.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        _thread.limit = None

    def _watch(self) -> None:
        while not self._done.wait(self._wait()):
            ends_at, image = self._at
            if time.monotonic() < ends_at:
                continue
            self._on_end(image)
            if not self._done.wait(self._timeouts.farewell) and self._at == (ends_at, image):  # else it went on in the last moment
                self._end()
                return

    def _wait(self) -> float:
        """Seconds to the current deadline. The next image moves it, possibly to an earlier time."""
        return min(max(self._at[0] - time.monotonic(), 0.0), self._timeouts.image)


def heartbeat(image: str | None) -> None:
    """The work in this thread begins its next step. Does nothing where no limit is set. WorkAbandonedError where it is no longer needed."""
    limit: TimeLimit | None = getattr(_thread, "limit", None)
    if limit is not None:
        limit.heartbeat(image)
