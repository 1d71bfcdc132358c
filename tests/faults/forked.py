"""Nights in processes of their own that need not start anew: they are forked where everything is imported already.

What is killed is a real process with all that a night does in it; only Python's imports, which take longer than all the rest, are shared.
"""

import multiprocessing
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from flows.params import LabelParams
from tests.faults.steps import Step, arm

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.faults.imported"])


class Forked:
    """One night that runs. how: `flow`, as an orchestrator runs it; `workers`, its sentence alone, on the parameters' cluster; `one`, its
    sentence and its shards in the one process.
    """

    def __init__(self, params: LabelParams, log: Path, how: str, step: Step | None = None) -> None:
        self.started = time.monotonic()
        self._log = log
        given = params.model_dump_json(), str(log), "" if step is None else step.told(), how
        self._process = SERVER.Process(target=_night, args=given)
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """Exit code, negative where a signal ended it; None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float = 240.0) -> int:
        """The same, once it has ended."""
        self._process.join(seconds)
        assert self._process.exitcode is not None, self.said()
        return self._process.exitcode

    def said(self) -> str:
        """Its last line."""
        with suppress(FileNotFoundError):
            lines = self._log.read_text(errors="replace").strip().splitlines()
            return lines[-1][:300] if lines else ""
        return ""

    def gone(self, since: float) -> float:
        """Seconds from `since` until it ran no more: it has no other processes."""
        self._process.join()
        return max(0.0, time.monotonic() - since)


def _night(params: str, log: str, step: str, how: str) -> None:
    words = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(words, stream)
    os.setsid()
    if step:
        arm(Step.read(step), "command", os.getpid())
    from tests.faults import nights

    given = LabelParams.model_validate_json(params)
    if how == "flow":
        from flows.label import label_collection

        label_collection(given)
    else:
        nights.label(given, given.cluster if how == "workers" else None)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)  # what clients of an orchestrator and of a cluster do at their end is not ours
