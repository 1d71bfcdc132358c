"""Processes of one command: a mark in the environment of every process it starts, and a watchdog that ends them when it is killed."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from flows.server.child_processes import environment, python

MARK: Final = "FERFLOW_SESSION"


@contextmanager
def session() -> Iterator[str]:
    """Inside, every new process has a mark in its environment. When this process ends, also by a kill, the remaining ones are killed."""
    mark = uuid.uuid4().hex
    before = os.environ.get(MARK)
    os.environ[MARK] = mark
    unmarked = environment({})
    del unmarked[MARK]
    watchdog = subprocess.Popen(
        python("-m", "flows.server.watchdog", mark, str(os.getpid())),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=unmarked,
        start_new_session=True,  # signals of Ctrl-C and of a closed terminal must not reach it
    )
    try:
        yield mark
    finally:
        assert watchdog.stdin is not None
        watchdog.stdin.close()  # as when this process is killed; the watchdog then ends by itself
        watchdog.returncode = 0
        if before is None:
            del os.environ[MARK]
        else:
            os.environ[MARK] = before
