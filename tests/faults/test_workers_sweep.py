"""What the watchdog ends with the command, and what it leaves to end by itself."""

import os
import subprocess
import sys
import uuid

from flows.server.session import MARK
from flows.server.watchdog import marked_processes


def test_the_tracker_of_semaphores_is_left_to_a_command_that_still_runs():
    """Else Python complains on the terminal, after the one clear line, where a worker was just being started as the command ended."""
    mark = uuid.uuid4().hex
    lines = {"tracker": "input() # from multiprocessing.resource_tracker import main", "worker": "input()"}
    started = {
        name: subprocess.Popen([sys.executable, "-c", line], env=os.environ | {MARK: mark}, stdin=subprocess.PIPE)
        for name, line in lines.items()
    }
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    try:
        assert marked_processes(mark, os.getpid()) == [started["worker"].pid]
        assert sorted(marked_processes(mark, gone.pid)) == sorted(process.pid for process in started.values())
    finally:
        for process in started.values():
            process.kill()
            process.communicate()
