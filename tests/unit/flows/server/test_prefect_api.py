"""What a run tells the Prefect API that it talks to."""

import base64
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fer_core.errors import OrchestrationError
from flows.server import prefect_api
from flows.server.guard import ALLOWED_HOSTS
from flows.server.password import FILE, OURS


class FlowFailedError(Exception):
    """What a flow fails with."""


class Server:
    """Stands in for one of our own."""

    def wait(self, seconds):
        assert seconds > 0


@pytest.mark.parametrize("server", [None, Server()], ids=["configured", "our own"])
def test_what_is_queued_is_delivered_while_the_api_is_there_also_after_a_failure(monkeypatch, server):
    """Else Prefect tries when the process ends, a minute and more where the API is gone by then."""
    told = []
    monkeypatch.setattr(prefect_api, "flush", lambda: told.append("flushed"))
    monkeypatch.setenv("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "1")

    def failed():
        with prefect_api.PrefectApi("http://127.0.0.1:1/api", server).ready():
            told.append("ran")
            raise FlowFailedError

    with pytest.raises(FlowFailedError):
        failed()
    assert told == ["ran", "flushed"]


@pytest.fixture
def server(monkeypatch):
    """Asks for the password `me:mine`, and answers to no name but `localhost`; its address."""
    for name in (OURS, "PREFECT_API_KEY", "PREFECT_CLIENT_CUSTOM_HEADERS"):
        monkeypatch.delenv(name, raising=False)
    right = f"Basic {base64.b64encode(b'me:mine').decode()}"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if not self.path.startswith("/api/"):  # Prefect's pages
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"<!doctype html>")
                return
            named = self.headers["Host"].startswith("localhost")
            let_in = self.path == "/api/health" or self.headers["Authorization"] == right
            self.send_response(403 if not named else 200 if let_in else 401)
            self.end_headers()
            self.wfile.write(b"true" if named else f"ferflow: no; {ALLOWED_HOSTS}=x\nmore".encode())

        def log_message(self, *words):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://localhost:{listening.server_port}/api"
        listening.shutdown()


def test_a_server_that_asks_for_a_password_is_told_at_once(server, monkeypatch):
    with pytest.raises(OrchestrationError, match=rf"requires a password: put it into {OURS}; .*/{FILE}$"):
        prefect_api._check_answers(server, {})
    monkeypatch.setenv(OURS, "me:another")
    with pytest.raises(OrchestrationError, match=f"does not accept the password in {OURS}; ") as refused:
        prefect_api._check_answers(server, {})
    assert "another" not in str(refused.value)
    monkeypatch.setenv(OURS, "me:mine")
    prefect_api._check_answers(server, {})
    monkeypatch.delenv(OURS)
    prefect_api._check_answers(server, {OURS: "me:mine"})
    prefect_api._check_answers(server, {"PREFECT_API_KEY": "a key"})  # Prefect's client says itself what is wrong with it


def test_a_server_that_has_another_name_says_so(server):
    with pytest.raises(OrchestrationError, match=rf"\(PREFECT_API_URL\) refuses: no; {ALLOWED_HOSTS}=x$"):
        prefect_api._check_answers(server.replace("localhost", "127.0.0.1"), {})


@pytest.mark.parametrize("path", ["", "/"])
def test_an_address_without_api_is_told_the_one_with_it(server, path):
    """Regression: an unexpected RuntimeError of Prefect's client."""
    given = server.removesuffix("/api") + path
    with pytest.raises(OrchestrationError, match=rf"^{given} \(PREFECT_API_URL\) is a Prefect server, its API is {server}$"):
        prefect_api._check_answers(given, {})


def test_an_address_of_something_else_says_how_one_ends(server, monkeypatch):
    monkeypatch.setenv(OURS, "me:mine")
    with pytest.raises(OrchestrationError, match=r"^no Prefect API answers at .*/other \(PREFECT_API_URL\): its address ends in /api, "):
        prefect_api._check_answers(server.removesuffix("api") + "other", {})


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("localhost:4317/api", "localhost:4317/api"),
        ("ftp://host/api", "ftp://host/api"),
        ("me:secret@host:4200/api", "host:4200/api"),
        ("ftp://me:sec/ret@host/api", "ftp://host/api"),
        ("http:///api", "http:///api"),
    ],
)
def test_no_web_address_is_shown_as_given_but_for_credentials(given, shown):
    with pytest.raises(OrchestrationError) as refused:
        prefect_api._check_answers(given, {})
    assert str(refused.value) == f"PREFECT_API_URL is no http:// or https:// address: {shown}"


def test_an_empty_home_is_none(monkeypatch, tmp_path):
    """Prefect would take it for the working folder, and write its database among photographs."""
    monkeypatch.setenv("PREFECT_HOME", "")
    monkeypatch.setenv("FERFLOW_DETECTORS", str(tmp_path / "detectors"))
    prefect_api.configure(verbose=False)
    assert "PREFECT_HOME" not in os.environ
    assert os.environ["FERFLOW_DETECTORS"] == str(tmp_path / "detectors")


def test_a_busy_server_has_time_to_answer(monkeypatch):
    """Regression: a run failed where the server had connected and took more than five seconds for its answer."""
    for name in (OURS, "PREFECT_API_KEY", "PREFECT_CLIENT_CUSTOM_HEADERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(prefect_api, "ANSWER_SECONDS", 0.05)

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self):
            time.sleep(0.3)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"true")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        prefect_api._check_answers(f"http://127.0.0.1:{served.server_address[1]}/api", {})
        served.shutdown()
