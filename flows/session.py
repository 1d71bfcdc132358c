"""What belongs to one command: its mark in the environment of every process it starts, and a watchdog that ends them when it is killed."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MARK: Final = "FERFLOW_SESSION"


@contextmanager
def session() -> Iterator[str]:
    """Inside, every process that is started carries a mark. When this process ends, however it ends, those that are left are killed."""
    mark = uuid.uuid4().hex
    before = os.environ.get(MARK)
    os.environ[MARK] = mark
    environment = {name: value for name, value in os.environ.items() if name != MARK}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    watchdog = subprocess.Popen(
        [sys.executable, "-m", "flows.watchdog", mark, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,  # Ctrl-C and a closed terminal must not reach it
    )
    try:
        yield mark
    finally:
        assert watchdog.stdin is not None
        watchdog.stdin.close()  # what it sees when this process is killed, too; it then ends by itself
        watchdog.returncode = 0
        if before is None:
            del os.environ[MARK]
        else:
            os.environ[MARK] = before
