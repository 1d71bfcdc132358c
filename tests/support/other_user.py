"""What another user of the machine gets from an API: `python -m tests.support.other_user URL`. Answers in JSON.

Statuses of requests with no password and with a wrong one, what became of WebSockets, the arguments of every process that can be seen, and
whose environment could be read.
"""

import base64
import http.client
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.support import second_user

REQUESTS = (
    ("GET", "/admin/version"),
    ("GET", "/admin/settings"),
    ("GET", "/csrf-token?client=other"),
    ("POST", "/deployments/filter"),
    ("PATCH", "/deployments/00000000-0000-0000-0000-000000000000"),
    ("POST", "/deployments/00000000-0000-0000-0000-000000000000/create_flow_run"),
    ("POST", "/flow_runs/filter"),
    ("POST", "/variables/"),
    ("POST", "/events"),
)
LINES = ("/events/in", "/events/out", "/logs/out")


def ask(url: str) -> dict[str, object]:
    """As the subprocess answers it."""
    return json.loads(second_user.run("tests.support.other_user", url, timeout=200))


def main() -> None:
    url = sys.argv[1]
    status(url, "GET", "/health", {})  # loads modules that other users may be unable to read
    line(f"{url}/logs/out", "prefect", "")
    second_user.become()
    wrong = base64.b64encode(b"ferflow:wrong").decode()
    statuses = {
        f"{method} {path.partition('?')[0]} {'wrong' if headers else 'none'}": status(url, method, path, headers)
        for method, path in REQUESTS
        for headers in ({}, {"Authorization": f"Basic {wrong}"})
    }
    lines = {f"{path} {protocol} {token}": line(url + path, protocol, token) for path in LINES for protocol, token in KINDS}
    arguments, environments = [], []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments.append((process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " "))
            if b"PREFECT_" in (process / "environ").read_bytes():
                environments.append(process.name)
        except OSError:
            continue
    sys.stdout.write(json.dumps({"statuses": statuses, "lines": lines, "arguments": arguments, "environments": environments}))


KINDS = ((None, None), ("prefect", None), ("prefect", ""), ("prefect", "ferflow:wrong"))


def status(url: str, method: str, path: str, headers: dict[str, str]) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    body = None if method == "GET" else b"[]" if path == "/events" else b"{}"
    try:
        connection.request(method, parts.path + path, body, {"Content-Type": "application/json", **headers})
        return connection.getresponse().status
    finally:
        connection.close()


def line(url: str, protocol: str | None, token: str | None) -> str:
    """`open` where it could be used."""
    try:
        with connect(url.replace("http", "ws", 1), subprotocols=[protocol] if protocol else None, proxy=None, open_timeout=60) as opened:
            if protocol:
                opened.send(json.dumps({"type": "auth", "token": token}))
                opened.recv(timeout=60)
            return "open"
    except (WebSocketException, OSError) as error:
        return type(error).__name__


if __name__ == "__main__":
    main()
