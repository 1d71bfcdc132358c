"""A server on this machine that hands out a file in good and in bad ways."""

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fer_core.detect import download

GOOD = bytes(range(256)) * 900
DIGEST = hashlib.sha256(GOOD).hexdigest()
BAD = GOOD[:-1] + b"?"


class Home(BaseHTTPRequestHandler):
    """What a server may do, by path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(self.path)
        self.close_connection = True
        getattr(self, self.path.strip("/").partition("?")[0])()

    def head(self, status, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Connection", "close")
        self.end_headers()

    def whole(self, content):
        self.head(200, Content_Length=len(content))
        self.wfile.write(content)

    def good(self):
        self.whole(GOOD)

    def wrong(self):
        self.whole(BAD)

    def empty(self):
        self.whole(b"")

    def missing(self):
        self.head(404, Content_Length=0)

    def broken(self):
        self.head(503, Content_Length=0)

    def moved(self):
        self.head(302, Location="/good", Content_Length=0)

    def round(self):
        self.head(302, Location="/round", Content_Length=0)

    def away(self):
        self.head(302, Location=f"file://{__file__}", Content_Length=0)

    def truncated(self):
        self.head(200, Content_Length=len(GOOD))
        self.wfile.write(GOOD[:1000])

    def unsized(self):
        self.head(200)
        self.wfile.write(GOOD)

    def chunked(self):
        self.head(200, Transfer_Encoding="chunked")
        for start in range(0, len(GOOD), 50_000):
            piece = GOOD[start : start + 50_000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def chunked_truncated(self):
        self.head(200, Transfer_Encoding="chunked")
        self.wfile.write(b"ffff\r\nonly this")

    def promises_much(self):
        self.head(200, Content_Length=download.LIMITS.size + 1)

    def sends_much(self):
        self.head(200)
        try:
            for _ in range(10 * download.LIMITS.size // 100_000):
                self.wfile.write(bytes(100_000))
        except OSError:
            self.server.cut_off.set()

    def mute(self):
        self.server.let_go.wait(240)

    def half(self):
        self.head(200, Content_Length=len(GOOD))
        self.wfile.write(GOOD[: len(GOOD) // 2])
        self.server.half_sent.set()
        self.server.let_go.wait(240)

    def drips(self):
        self.head(200, Content_Length=len(GOOD))
        try:
            while not self.server.let_go.wait(0.02):
                self.wfile.write(b"x")
        except OSError:
            pass

    def nonsense(self):
        self.wfile.write(b"SSH-2.0-whatever\r\n\r\n")

    def log_message(self, *words):
        pass


@pytest.fixture
def home(monkeypatch):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Home)
    server.asked, server.let_go, server.half_sent, server.cut_off = [], threading.Event(), threading.Event(), threading.Event()
    server.url = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.let_go.set()
    server.shutdown()
    server.server_close()
    thread.join()
