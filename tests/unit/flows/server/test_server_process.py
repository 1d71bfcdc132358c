"""Processes of servers that start before it is known what they serve."""

import os
import socket
import subprocess
from pathlib import Path

import psutil

from flows.server.child_processes import environment, python
from flows.server.server_process import ServerProcess, early_server, server_process

ORPHAN = """
import os, signal
from flows.server.server_process import ServerProcess
print(ServerProcess().process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_early_one_is_the_next_one() -> None:
    with early_server():
        first, second = server_process(), server_process()
        try:
            assert first.process.pid != second.process.pid
            assert first.process.pid in [child.pid for child in psutil.Process().children()]
        finally:
            first.stop()
            second.stop()


def test_one_that_was_not_needed_is_gone() -> None:
    with early_server():
        (process,) = (child for child in psutil.Process().children() if "flows.server.uvicorn_process" in child.cmdline())
    assert not process.is_running()


def test_it_ends_with_its_parent() -> None:
    ended = subprocess.run(python("-c", ORPHAN), env=environment({}), capture_output=True, text=True, check=False)
    pid = int(ended.stdout)
    if psutil.pid_exists(pid):
        psutil.Process(pid).wait(timeout=60)  # it loads its libraries first


def test_what_it_cannot_serve_is_in_its_output(tmp_path: Path) -> None:
    process = ServerProcess()
    try:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            process.serve(["--factory", "no_such:application"], listening, dict(os.environ), tmp_path)
            assert process.process.wait(timeout=60) != 0
        process.output.seek(0)
        assert b"no_such" in process.output.read()
    finally:
        process.stop()
