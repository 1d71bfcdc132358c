"""Calls in threads: results in order, and an error waits for no other call."""

from threading import Event

import pytest

from fer_core.threads import at_once


def test_results_are_in_order():
    assert at_once(lambda value: value * 2, range(50), 8) == list(range(0, 100, 2))
    assert at_once(str, [], 8) == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
def test_an_error_does_not_wait_for_other_calls(kind):
    begun, may_end, ended = Event(), Event(), []

    def work(number):
        if number == 0:
            assert begun.wait(60)
            raise kind
        begun.set()
        assert may_end.wait(60)
        ended.append(number)

    with pytest.raises(kind):
        at_once(work, range(5), 2)
    assert ended == []
    may_end.set()
