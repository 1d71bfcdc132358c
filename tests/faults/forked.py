"""Nights in processes of their own that need not start anew: they are forked where everything is imported already.

What is killed is a real process with all that a night does in it; only Python's imports, which take longer than all the rest, are shared.
"""

import multiprocessing
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from flows.label_params import LabelParams
from tests.faults.steps import Step, arm

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.faults.imported"])


class Forked:
    """One night, or another command, that runs in a session of its own, with the object store of this process.

    what: parameters, the words of a command, or the URL of a labels root that is kept house in. how, for
    parameters: `flow`, as an orchestrator runs it; `workers`, its sentence alone, on
    the parameters' cluster; `one`, its sentence and its shards in the one process. kind: who dies at `step`, see `steps.KINDS`.
    """

    def __init__(
        self, what: LabelParams | list[str] | str, log: Path, how: str = "", step: Step | None = None, kind: str = "command"
    ) -> None:
        self.started = time.monotonic()
        self._log = log
        target = _command if isinstance(what, list) else _housekeeping if isinstance(what, str) else _night
        given = what.model_dump_json() if isinstance(what, LabelParams) else what
        store = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        self._process = SERVER.Process(target=target, args=(given, how, str(log), "" if step is None else step.told(), kind, store))
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


def _night(params: str, how: str, log: str, step: str, kind: str, store: dict[str, str]) -> None:
    _settle(log, step, kind, store)
    given = LabelParams.model_validate_json(params)
    if how == "flow":
        from flows.label import label_collection

        label_collection(given)
    else:
        from tests.faults import nights

        nights.label(given, given.cluster.address if how == "workers" else None)
    _end(0)


def _command(words: list[str], _how: str, log: str, step: str, kind: str, store: dict[str, str]) -> None:
    _settle(log, step, kind, store)
    from tests.faults.deadly import main

    _end(main(words))


def _housekeeping(root: str, _how: str, log: str, step: str, kind: str, store: dict[str, str]) -> None:
    _settle(log, step, kind, store)
    from tests.faults import nights

    nights.housekeeping(root)
    _end(0)


def _settle(log: str, step: str, kind: str, store: dict[str, str]) -> None:
    os.environ.update(store)
    words = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(words, stream)
    os.setsid()
    if step:
        arm(Step.read(step), kind, os.getpid())


def _end(code: int) -> None:
    """What clients of an orchestrator and of a cluster do at their end is not ours."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
