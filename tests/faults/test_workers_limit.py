"""The limit on an image, kept inside the process that works: tried with an end that only tells."""

import threading

import pytest

from tasks.execution import image_timeout
from tasks.execution.image_timeout import StepTimeouts, TimeLimit, heartbeat


class Ends:
    """Notes at what a limit ended."""

    def __init__(self) -> None:
        self.at: list[str | None] = []
        self.ended = threading.Event()

    def limit(self, seconds: float, other: float = 0.05) -> TimeLimit:
        return TimeLimit(StepTimeouts(seconds, other, farewell=0.02), self.at.append, self.ended.set)


def test_an_image_that_takes_too_long_is_told_and_ends_the_process():
    ends = Ends()
    with ends.limit(0.05):
        heartbeat("/photos/a.jpg")
        assert ends.ended.wait(240)
    assert ends.at == ["/photos/a.jpg"]


def test_what_is_no_image_is_limited_too():
    ends = Ends()
    with ends.limit(0.01):
        assert ends.ended.wait(240)
    assert ends.at == [None]


def test_work_that_gets_on_is_left_alone(monkeypatch):
    now = 0.0
    monkeypatch.setattr(image_timeout.time, "monotonic", lambda: now)
    ends = Ends()
    limit = ends.limit(10.0)
    for number in range(1000):  # all together far more than the limit
        limit.heartbeat(f"/photos/{number}.jpg")
        now += 9.0
        assert limit._wait() == pytest.approx(1.0)
    limit.heartbeat(None)
    assert limit._wait() == pytest.approx(10.0)
    assert not ends.at


def test_an_image_after_a_long_beginning_is_not_given_the_beginnings_time():
    ends = Ends()
    with ends.limit(0.05, other=3600.0):  # an hour to begin with
        heartbeat("/photos/a.jpg")
        assert ends.ended.wait(240)
    assert ends.at == ["/photos/a.jpg"]


def test_what_gets_on_in_the_last_moment_goes_on():
    told, ended = threading.Event(), threading.Event()
    with TimeLimit(StepTimeouts(0.05, 0.05, farewell=3600.0), lambda _: told.set(), ended.set):
        heartbeat("/photos/a.jpg")
        assert told.wait(240)
    assert not ended.is_set()


def test_without_a_limit_nothing_is_kept():
    heartbeat("/photos/a.jpg")
    ends = Ends()
    with ends.limit(3600.0):
        pass
    heartbeat("/photos/b.jpg")
    assert image_timeout._thread.limit is None
