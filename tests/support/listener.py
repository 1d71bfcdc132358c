"""Listeners that keep what they were sent: an HTTP one, as a chat's webhook is, and an SMTP one."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "T0PSECRET-token"


class Listener:
    """Answers 200, at first so many times 500."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.asked = 0
        self.texts: list[str] = []
        self._news = threading.Condition()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(listener.take(self.path, said))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/{SECRET}"

    def take(self, path: str, said: Any) -> int:
        assert path == f"/services/{SECRET}"
        with self._news:
            self.asked += 1
            if self.asked <= self.refusals:
                return 500
            self.texts.append(said["text"])
            self._news.notify_all()
        return 200

    def wait(self, words: str, seconds: float = 240) -> str:
        """The text that holds these words, once it is there."""
        with self._news:
            found = self._news.wait_for(lambda: next((text for text in self.texts if words in text), None), seconds)
        assert found, self.texts
        return found


class Mail:
    """An SMTP server that keeps what it is sent."""

    def __init__(self) -> None:
        self.said: list[str] = []
        post = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 ready\r\n")
                writing = False
                for line in self.rfile:
                    text = line.decode().rstrip("\r\n")
                    post.said.append(text)
                    if writing and text != ".":
                        continue
                    writing = text.upper() == "DATA"
                    self.wfile.write(b"354 go on\r\n" if writing else b"221 bye\r\n" if text.upper() == "QUIT" else b"250 taken\r\n")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]


@contextmanager
def mail() -> Iterator[Mail]:
    """At work inside."""
    post = Mail()
    threading.Thread(target=post.server.serve_forever, daemon=True).start()
    try:
        yield post
    finally:
        post.server.shutdown()
        post.server.server_close()


@contextmanager
def listening(refusals: int = 0) -> Iterator[Listener]:
    """At work inside."""
    listener = Listener(refusals)
    thread = threading.Thread(target=listener.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield listener
    finally:
        listener.server.shutdown()
        listener.server.server_close()
        thread.join()
