"""`ferflow up` in a home of its own, and its API, as the pages use it."""

import base64
import json
import queue
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.native_trace import Trace
from tests.support.processes import Commands

START_SECONDS = 600
RUN_SECONDS = 600

BUSY = 503
"""The database is locked: on a crowded machine Prefect's own client asks again, too."""

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Served:
    """What `ferflow up` answers."""

    def __init__(self, process: subprocess.Popen[str], said: dict[str, Any], errors: Sequence[str] = ()) -> None:
        self.process = process
        self.errors = errors
        """Lines on standard error, all of them once it has ended."""
        self.url: str = said["url"]
        self.said = said
        kept = said.get("password_file")
        self.password: str | None = Path(kept).read_text().strip() if kept else said.get("password")
        self._headers: dict[str, str] | None = None
        """That any change must carry."""

    def headers(self, method: str) -> dict[str, str]:
        """As Prefect's pages send them: the password, and with changes a token that other pages cannot have."""
        given = {"Content-Type": "application/json"}
        if self.password:
            given["Authorization"] = f"Basic {base64.b64encode(self.password.encode()).decode()}"
        if method != "GET" and self._headers is None:
            _, said = self.call("GET", "/csrf-token?client=a-test")
            self._headers = {"Prefect-Csrf-Client": "a-test", "Prefect-Csrf-Token": said["token"]} if "token" in said else {}
        return {**given, **(self._headers or {})}

    def call(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """Status and answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api{path}", data, {**self.headers(method), **(headers or {})}, method=method)
        while True:
            try:
                with urllib.request.urlopen(request, timeout=280) as answer:
                    text = answer.read()
                    return answer.status, json.loads(text) if text else None
            except urllib.error.HTTPError as error:
                if error.code != BUSY:
                    return error.code, json.loads(error.read())
            assert self.process.poll() is None, "ferflow up has ended"
            time.sleep(0.5)

    def variables(self) -> dict[str, str]:
        """With which Prefect's own commands speak to it, as docs/guides/deploy.md says."""
        found = {"PREFECT_API_URL": f"{self.url}/api"}
        return {**found, "PREFECT_API_AUTH_STRING": self.password} if self.password else found

    def deployment(self, name: str) -> dict[str, Any]:
        """By `FLOW/NAME`."""
        status, found = self.call("GET", f"/deployments/name/{name}")
        assert status == 200, found
        return found

    def submit(self, name: str, **changed: object) -> tuple[int, Any]:
        """A run of a deployment with some parameters changed, as the form does it."""
        deployment = self.deployment(name)
        params = {**deployment["parameters"]["params"], **changed}
        return self.call("POST", f"/deployments/{deployment['id']}/create_flow_run", {"parameters": {"params": params}})

    def newest(self, deployment: str) -> dict[str, Any]:
        """The run that was created last."""
        wanted = {"flow_runs": {"deployment_id": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_DESC"}
        _, runs = self.call("POST", "/flow_runs/filter", wanted)
        return next(run for run in runs if not run["auto_scheduled"])

    def planned(self, name: str) -> list[dict[str, Any]]:
        """The runs of a deployment that its schedule has planned, once there are any."""
        wanted = {"deployment_id": {"any_": [self.deployment(name)["id"]]}, "state": {"type": {"any_": ["SCHEDULED"]}}}
        deadline = time.monotonic() + RUN_SECONDS
        while not (found := self.call("POST", "/flow_runs/filter", {"flow_runs": wanted})[1]):
            assert time.monotonic() < deadline, "nothing is planned"
            time.sleep(0.3)
        return found

    def next_night(self, name: str) -> dict[str, Any]:
        """The run that the schedule of a deployment starts, brought forward to now; it has begun, and the schedule is off."""
        found = self.deployment(name)
        path = f"/deployments/{found['id']}/schedules/{found['schedules'][0]['id']}"
        begin = datetime.now(UTC) + timedelta(seconds=3)
        # again and again: Prefect may take a while to plan, and plans nothing that is past
        often = {"interval": 15, "anchor_date": begin.isoformat(), "timezone": "UTC"}
        assert self.call("PATCH", path, {"schedule": often, "active": True})[0] == 204
        wanted = {"deployment_id": {"any_": [found["id"]]}, "expected_start_time": {"after_": begin.isoformat()}}
        wanted["state"] = {"type": {"any_": ["RUNNING", *FINAL]}}
        deadline = time.monotonic() + RUN_SECONDS
        while not (runs := self.call("POST", "/flow_runs/filter", {"flow_runs": wanted})[1]):
            assert time.monotonic() < deadline, "nothing has begun"
            time.sleep(0.2)
        assert self.call("PATCH", path, {"active": False})[0] == 204
        return dict(runs[0])

    def finished(self, run: str) -> dict[str, Any]:
        """The run once it has ended."""
        deadline = time.monotonic() + RUN_SECONDS
        while True:
            _, found = self.call("GET", f"/flow_runs/{run}")
            if found["state_type"] in FINAL:
                return found
            assert self.process.poll() is None, "ferflow up has ended"
            assert time.monotonic() < deadline, found["state"]
            time.sleep(0.3)


@contextmanager
def up(
    commands: Commands, folder: Path, *options: object, env: Mapping[str, str] | None = None, trace: Trace | None = None
) -> Iterator[Served]:
    """Started in `folder`, on a free port, unless told otherwise. Whatever the test left running ends with it.

    trace: where its calls are noted.
    """
    quick = {"PREFECT_RUNNER_POLL_FREQUENCY": "1", **(env or {})}
    process = commands.start("up", "--json", "--port", 0, *options, env=quick, cwd=folder, trace=trace)
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True)
    reader.start()
    said: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: said.put(process.stdout.readline() if process.stdout else ""), daemon=True).start()
    try:
        line = said.get(timeout=START_SECONDS)
        assert line, "".join(errors)
        answer = json.loads(line)
        assert "url" in answer, answer
        yield Served(process, answer, errors)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=280)
        reader.join(timeout=280)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
