"""Signals of a terminal's group and the first worker."""

import os
import subprocess
import sys

import pytest

FIRST_PROCESS = """
import signal, sys, threading
from multiprocessing import get_context
from tasks.clusters.early_start import start_resource_tracker

def blocked():
    raise SystemExit(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))

def start():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    process = get_context("spawn").Process(target=blocked)
    process.start()
    process.join()
    codes.append(process.exitcode)

if __name__ == "__main__":
    codes = []
    start_resource_tracker()
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    lock = get_context("spawn").Lock()
    import os
    sys.stdout.write(f"{codes} {os.environ.get('PYTHONWARNINGS')}")
    sys.stdout.flush()
    os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX signals")
@pytest.mark.parametrize("warnings", [None, "error"])
def test_the_first_worker_does_not_get_the_terminals_interrupt(tmp_path, warnings):
    """Regression: one worker printed a traceback, since multiprocessing had unblocked SIGINT in the thread that started it."""
    (tmp_path / "first.py").write_text(FIRST_PROCESS)
    env = {**os.environ, "PYTHONPATH": os.getcwd(), **({"PYTHONWARNINGS": warnings} if warnings else {})}
    done = subprocess.run([sys.executable, tmp_path / "first.py"], env=env, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"[1] {warnings}", "")  # and no word of the lock that is left behind
