import importlib
import os
import signal
import subprocess
import sys
import time

import pytest

from tasks.execution import signals
from tasks.execution.progress import Progress, report_progress


@pytest.fixture
def calm(monkeypatch):
    monkeypatch.setattr(signals, "_asked_at", None)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
    signals.listen()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_swallowed_interrupt_stops_the_run_at_its_next_step(calm, number):
    """Regression: a signal that came while Prefect was being imported was swallowed there, and the run went on to its commit."""
    assert not signals.stop_requested()
    signals.raise_if_stop_requested()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    assert signals.stop_requested()
    with pytest.raises(KeyboardInterrupt):
        signals.raise_if_stop_requested()
    with pytest.raises(KeyboardInterrupt):
        report_progress(Progress(total=1))


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
    assert signals.stop_requested()
    with pytest.raises(KeyboardInterrupt):
        time.sleep(5)
    signal.setitimer(signal.ITIMER_REAL, *timer)  # whose it was before


ENDS_AT_ONCE = """
import sys, time
from tasks.execution import signals
class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(4 * signals.RETRY_SECONDS)
signals.listen()
sys.slow = Slow()  # among the last things that Python takes apart
import slow_to_import
sys.exit(1)
"""


def test_a_command_that_ends_before_its_retry_keeps_its_exit_code(tmp_path):
    """Regression: the timer went off while Python ended, and the command died of SIGALRM."""
    (tmp_path / "slow_to_import.py").write_text("import signal\nsignal.raise_signal(signal.SIGTERM)\n")
    path = os.pathsep.join((str(tmp_path), os.getcwd()))
    code = ENDS_AT_ONCE.replace("signals.RETRY_SECONDS", str(signals.RETRY_SECONDS))
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
