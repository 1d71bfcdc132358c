"""Who is reading a table's folders on this machine, as far as the kernel tells (Linux, inotify).

A reader lists folders first and opens what it found there later. A file that goes in between is an error to it, so whoever wants to replace
files waits for a moment in which no reader is in between. The kernel tells of each listing, opening and closing, but not whose it is;
`Activity` says what follows from that.
"""

import ctypes
import fcntl
import math
import os
import select
import signal
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

REGULAR_SECONDS: Final = 0.001
"""How long nothing has to have happened at least after a question of a single reader who asks the same again and again."""
PAUSE_SECONDS: Final = 0.25
"""The least that such a reader has left between any two of its questions. The first half of its pause may be used. The rest is for what may
hold us up: an exchange waits for the filesystem's journal, some milliseconds where others write much.
"""
LONGEST_PERIOD: Final = 8
PERIODS: Final = 5
PROBE_SECONDS: Final = 0.25
PROBED_AT_ONCE: Final = 1000

_OPEN, _CLOSE_WRITTEN, _CLOSE, _OVERFLOW, _FOLDER = 0x20, 0x08, 0x10, 0x4000, 0x40000000
_EVENT: Final = struct.Struct("iIII")


@dataclass(slots=True)
class Activity:
    """What has been seen of the readers of some folders. Times are seconds of one clock.

    Listings are counted exactly, openings are not: a reader of many threads opens some parts more than once, and what happens twice in a
    row the kernel may tell once. So openings are counted in passes over all parts, rounded.
    """

    wait: float
    """How long after it listed a folder a reader may still open what it found."""
    began: float
    """When watching began."""
    names: set[str]
    """The parts in the folders."""
    last: float = 0.0
    """When something happened last."""
    unopened: set[str] | None = None
    """Parts that nobody has opened since the last listing; None where none was opened yet."""
    bursts: deque[tuple[int, int]] = field(default_factory=lambda: deque([(0, 0)], maxlen=PERIODS * LONGEST_PERIOD + 1))
    """Listings and openings of each stretch of listings and the openings that follow it; the last one is under way."""
    pauses: deque[float] = field(default_factory=lambda: deque([math.inf], maxlen=PERIODS * LONGEST_PERIOD + 1))
    """For each burst, how long nothing had happened when it began; nobody knows for the first."""
    silences: deque[float] = field(default_factory=lambda: deque([0.0], maxlen=PERIODS * LONGEST_PERIOD + 1))
    """For each burst, how long nothing happened at most in the midst of it."""
    regular_since: list[float] = field(default_factory=list)
    """For each period from 1: since when each burst has been like the one so many before."""

    def __post_init__(self) -> None:
        self.last = self.began
        self.regular_since = [self.began] * LONGEST_PERIOD

    def listed(self, now: float) -> None:
        """A folder is opened for listing."""
        listings, openings = self.bursts[-1]
        if openings:
            self._end_burst(now)
            listings = 0
        self.bursts[-1] = listings + 1, 0
        self.unopened = None
        self._happened(now)

    def opened(self, name: str, now: float) -> None:
        """A part is opened."""
        listings, openings = self.bursts[-1]
        self.bursts[-1] = listings, openings + 1
        if self.unopened is None:
            self.unopened = set(self.names)
        self.unopened.discard(name)
        self._happened(now)

    def closed(self, now: float) -> None:
        """A folder or a part is closed."""
        self._happened(now)

    def quiet(self, now: float) -> bool:
        """Whether, if nothing is open, no reader is between listing and opening, because nothing has happened for so long.

        Not while one is expected that has come again after about as long before. A little more than `wait` is waited for, because programs
        ask every so many whole seconds, and people choose such for `wait`.
        """
        silent = now - self.last
        return silent >= 1.1 * self.wait and not any(pause / 2 < silent < 1.5 * pause for pause in self.pauses)

    def between_questions(self, now: float) -> bool:
        """Whether, if nothing is open, a single reader who asks the same again and again has ended one question and not begun the next.

        It has listed and opened alike for `wait`, which a second reader, who has listed since and not opened yet, would have disturbed.
        Each part was opened since the last listing, and as often as at the end of each question before. It is silent for clearly longer
        than it was in the midst of questions lately, and for clearly less long than it always was between them.
        """
        silent = now - self.last
        if self.unopened != set() or silent < REGULAR_SECONDS:
            return False
        return any(
            now - self.regular_since[period - 1] >= self.wait
            and self._ends_like_before(period)
            and 2 * self._longest_silence(period) <= silent <= self._shortest_pause(period) / 2
            for period in range(1, LONGEST_PERIOD + 1)
        )

    def idle(self, now: float) -> bool:
        """Either of these."""
        return self.quiet(now) or self.between_questions(now)

    def _shape(self, back: int) -> tuple[int, int]:
        """Listings, and passes over all parts, of the burst so many before the last."""
        listings, openings = self.bursts[-1 - back]
        return listings, round(openings / max(len(self.names), 1))

    def _ends_like_before(self, period: int) -> bool:
        """Whether the last burst is like the one a period before, and has more openings than those between: with them a question ends."""
        if len(self.bursts) <= PERIODS * period or self._shape(0) != self._shape(period):
            return False
        return self._shape(0)[1] > max((self._shape(back)[1] for back in range(1, period)), default=0)

    def _shortest_pause(self, period: int) -> float:
        """After questions that ended like this one; 0 where it is too short to be used."""
        found = min(list(self.pauses)[-period::-period][: 2 * PERIODS])
        return found if found >= PAUSE_SECONDS else 0.0

    def _longest_silence(self, period: int) -> float:
        """In the midst of the last questions: within bursts, and before those that do not begin a question."""
        between = [pause for back, pause in enumerate(reversed(self.pauses), 1) if back % period]
        return max([*list(self.silences)[-2 * PERIODS * period :], *between[: 2 * PERIODS * (period - 1)]])

    def _happened(self, now: float) -> None:
        self.silences[-1] = max(self.silences[-1], now - self.last)
        self.last = now

    def _end_burst(self, now: float) -> None:
        for period in range(1, LONGEST_PERIOD + 1):
            if len(self.bursts) <= period or self._shape(0) != self._shape(period):
                self.regular_since[period - 1] = now
        self.bursts.append((0, 0))
        self.pauses.append(now - self.last)
        self.silences.append(0.0)
        self.last = now


class Watch:
    """Watches folders, and what is in them when it begins. A context manager. OSError when the kernel cannot."""

    def __init__(self, folders: Iterable[str], wait: float, others: Iterable[str] = ()) -> None:
        """others: folders whose listings are told, too, but are no readers' activity."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._events = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._events < 0:
            raise OSError(ctypes.get_errno(), "cannot watch folders")
        self._pending = select.poll()
        self._pending.register(self._events, select.POLLIN)
        self._folders: dict[int, str] = {}
        try:
            names = {name for folder in folders for name in self._add(folder)}
            self._others = frozenset(others)
            for folder in self._others:
                self._add(folder)
            self._take()  # our own listings
        except BaseException:  # nobody will leave a context that was never entered
            os.close(self._events)
            raise
        self._activity = Activity(wait, time.monotonic(), names)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._events)

    def idle(self, seconds: float) -> bool:
        """Wait up to so long for a moment in which no reader is between listing and opening; False when there was none."""
        until, probed = time.monotonic() + seconds, 0.0
        while True:
            self.listed()
            now = time.monotonic()
            quiet = self._activity.quiet(now)
            if (quiet and now - probed >= PROBE_SECONDS) or self._activity.between_questions(now):
                probed = now
                if self._nothing_open() and self._activity.idle(time.monotonic()):
                    return True
            if now > until:
                return False
            select.select([self._events], [], [], REGULAR_SECONDS)

    def listed(self) -> set[str]:
        """Folders that somebody has begun to list since this or `idle` was asked last, by the paths they had when watching began."""
        return self._tell(self._take())

    def step(self, step: Callable[[], None], wanted: Callable[[set[str]], bool]) -> bool | None:
        """Take a step unless somebody has begun to list since it was asked last. Returns whether it stands; None when it was not taken,
        also because the moment that `idle` found is over.

        It is taken a second time, which undoes it, unless what was listed meanwhile is as wanted. Nothing is done between looking and
        stepping.
        """
        if not self._activity.idle(time.monotonic()):
            return None
        while self._pending.poll(0):
            if self.listed():
                return None
        step()
        if wanted(self.listed()):
            return True
        step()
        return False

    def _tell(self, events: Iterable[tuple[str, str, int]]) -> set[str]:
        found: set[str] = set()
        for folder, name, what in events:
            now = time.monotonic()
            if folder in self._others:
                found.update([folder] if what & _FOLDER and what & _OPEN else ())
            elif what & _OVERFLOW:  # more happened than the kernel could keep, so nothing is known
                self._activity = Activity(self._activity.wait, now, self._activity.names)
            elif not what & _OPEN:
                self._activity.closed(now)
            elif what & _FOLDER:
                self._activity.listed(now)
                found.add(folder)
            else:
                self._activity.opened(f"{folder}/{name}", now)
        return found

    def _nothing_open(self) -> bool:
        """Whether no process has a part open, which the kernel says by giving a lease on it; and nobody has listed a folder meanwhile."""
        names = sorted(self._activity.names)
        for start in range(0, len(names), PROBED_AT_ONCE):
            is_open = any(_is_open(name) for name in names[start : start + PROBED_AT_ONCE])
            found = self._take()
            listed = any(what & (_FOLDER | _OVERFLOW) for _, _, what in found)
            if listed:  # else they are our own openings
                self._tell(found)
            if is_open or listed:
                return False
        return True

    def _add(self, folder: str) -> list[str]:
        number = self._libc.inotify_add_watch(self._events, os.fsencode(folder), _OPEN | _CLOSE | _CLOSE_WRITTEN)
        if number < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), folder)
        self._folders[number] = folder
        return [f"{folder}/{name}" for name in os.listdir(folder)]

    def _take(self) -> list[tuple[str, str, int]]:
        """Events that wait: folder, name in it or nothing for the folder itself, what happened."""
        found: list[tuple[str, str, int]] = []
        while True:
            try:
                data = os.read(self._events, 1 << 16)
            except BlockingIOError:
                return found
            start = 0
            while start < len(data):
                number, what, _, length = _EVENT.unpack_from(data, start)
                name = os.fsdecode(data[start + _EVENT.size : start + _EVENT.size + length].rstrip(b"\0"))
                found.append((self._folders.get(number, ""), name, what))
                start += _EVENT.size + length


def _is_open(path: str) -> bool:
    """Whether a process has a file open; who opens it right now waits for microseconds. OSError when the kernel does not say."""
    with suppress(FileNotFoundError):
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)  # what we are told with, should somebody wait; the usual signal would end us
            fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
    return False
