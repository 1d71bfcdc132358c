"""A process that ends while it starts another one."""

import os
import subprocess
import sys

import pytest

ENDING = """
import signal, threading
from multiprocessing import get_context
from tasks.execution import process_start, signals

MEBIBYTES = 64  # more than a pipe holds: the start waits until the other process reads

def start():
    get_context("spawn").Process(target=len, args=(bytes(MEBIBYTES << 20),)).start()

def children():
    with open(f"/proc/self/task/{thread.native_id}/children") as file:
        return file.read().split()

if __name__ == "__main__":
    signals.listen()
    process_start.start_whole()
    get_context("spawn").Lock()  # the resource tracker is there
    with signals.ending_at_once(lambda: print("interrupted", flush=True)):
        thread = threading.Thread(target=start)
        thread.start()
        while not children():
            pass
        signal.raise_signal(signal.SIGINT)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux lists the children of a thread")
def test_no_process_is_left_with_half_of_its_work(tmp_path):
    """Regression: the other process printed a traceback after the command's last line."""
    (tmp_path / "ending.py").write_text(ENDING)
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, tmp_path / "ending.py"], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "interrupted\n", "")
