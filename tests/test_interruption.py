import signal

import pytest

from tasks import interruption
from tasks.progress import Progress, tell


@pytest.fixture
def calm(monkeypatch):
    monkeypatch.setattr(interruption, "_asked_at", None)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    interruption.listen()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_swallowed_interrupt_stops_the_run_at_its_next_step(calm, number):
    """Regression: a signal that came while Prefect was being imported was swallowed there, and the run went on to its commit."""
    assert not interruption.asked()
    interruption.stop_if_asked()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    assert interruption.asked()
    with pytest.raises(KeyboardInterrupt):
        interruption.stop_if_asked()
    with pytest.raises(KeyboardInterrupt):
        tell(Progress(total=1))


def test_a_second_signal_at_once_is_the_same_wish(calm):
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
