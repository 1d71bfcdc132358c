import importlib
import signal
import time

import pytest

from tasks import interruption
from tasks.progress import Progress, tell


@pytest.fixture
def calm(monkeypatch):
    monkeypatch.setattr(interruption, "_asked_at", None)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
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


def test_an_import_is_finished_before_the_command_unwinds(calm, tmp_path, monkeypatch):
    """Regression: unwound between the steps of an import, a module's lock stayed taken, and the cluster's thread waited for it for ever."""
    (tmp_path / "slow_to_import.py").write_text("import signal\nsignal.raise_signal(signal.SIGTERM)\ndone = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    timer = signal.getitimer(signal.ITIMER_REAL)
    module = importlib.import_module("slow_to_import")
    assert module.done
    assert interruption.asked()
    with pytest.raises(KeyboardInterrupt):
        time.sleep(5)
    signal.setitimer(signal.ITIMER_REAL, *timer)  # whose it was before
