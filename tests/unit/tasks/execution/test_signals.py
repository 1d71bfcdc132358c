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
    monkeypatch.setattr(signals, "IMPATIENCE_SECONDS", 600.0)  # a busy machine may take its time between two signals
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
    with pytest.raises(KeyboardInterrupt):  # at any time after the import
        _import_and_wait()
    assert sys.modules.pop("slow_to_import").done
    assert signals.stop_requested()
    signal.setitimer(signal.ITIMER_REAL, *timer)  # whose it was before


def _import_and_wait():
    importlib.import_module("slow_to_import")
    time.sleep(60)


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_the_end_of_python_does_not_change_the_exit_code(number):
    """Regression: a run that was committed died of SIGINT, since Python had restored the default handler."""
    code = f"""
import signal, sys
from tasks.execution import signals
class Late:
    def __del__(self, raise_signal=signal.raise_signal):
        raise_signal({int(number)})
signals.listen()
sys.late = Late()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


BEGINNING = """
import signal, sys
from tasks.execution import signals
signals.listen()
{before}
with signals.ending_at_once(lambda: print("interrupted", flush=True)):
    import slow_to_import
    print("not reached", flush=True)
"""


@pytest.mark.parametrize("before", ["pass", "import slow_before"], ids=["inside", "just before"])
def test_before_a_run_begins_a_command_ends_at_once(tmp_path, before):
    """Regression: an import of seconds was finished first, and each part that was starting was awaited."""
    (tmp_path / "slow_before.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    (tmp_path / "slow_to_import.py").write_text("import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(60)\n")
    path = os.pathsep.join((str(tmp_path), os.getcwd()))
    code, env = BEGINNING.format(before=before), {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "interrupted\n", "")
