"""A proxy in front of an S3 server that loses requests, answers and parts of answers, as lines and servers in the field do."""

import http.client
import random
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

CUT, RESET, LATE, STALL, GARBLED = "cut body", "reset", "done, but not answered", "stall", "garbled"
BUSY = (503, "SlowDown", "Please reduce your request rate.")
BROKEN = (500, "InternalError", "We encountered an internal error. Please try again.")
DENIED = (403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")

Fault = str | tuple[int, str, str]


def seeded(seed: int, rate: float, kinds: tuple[Fault, ...]) -> Callable[[str, str], Fault | None]:
    """A fault for a share of the requests."""
    dice = random.Random(seed)
    return lambda method, path: dice.choice(kinds) if dice.random() < rate else None


class FaultyProxy:
    """Listens while the block runs. `judge` says of each request, by method and path, what befalls it."""

    def __init__(self, endpoint: str, judge: Callable[[str, str], Fault | None] = lambda method, path: None) -> None:
        self.judge = judge
        self.asked: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.ended = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, urlsplit(endpoint).netloc))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FaultyProxy":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()


def _handler(proxy: FaultyProxy, server: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = proxy.judge(self.command, self.path)
            proxy.asked[self.command] += 1
            if fault:
                proxy.failed[fault if isinstance(fault, str) else fault[1]] += 1
            if isinstance(fault, tuple):
                status, code, message = fault
                self.send(status, {}, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode())
            elif fault == RESET:
                self.close_connection = True
            elif fault == STALL:
                proxy.ended.wait(60)
                self.close_connection = True
            else:
                status, headers, data = self.ask(body)
                if fault == LATE:
                    self.close_connection = True
                elif fault == GARBLED and data.startswith(b"<?xml"):
                    self.send(status, headers, data[: len(data) // 2])
                else:
                    self.send(status, headers, data, cut=fault == CUT)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = answer  # noqa: N815  (so the standard library names them)

        def ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            connection = http.client.HTTPConnection(server)
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            data = answer.read()
            kept = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in ("transfer-encoding", "connection", "date", "server")
            }
            connection.close()
            return answer.status, kept, data

        def send(self, status: int, headers: dict[str, str], data: bytes, cut: bool = False) -> None:
            self.send_response(status)
            size = headers.pop("Content-Length", None) or headers.pop("content-length", None) if self.command == "HEAD" else None
            for name, value in headers.items():
                if name.lower() != "content-length":
                    self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", size or str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data[: len(data) // 2] if cut else data)
            if cut:
                self.wfile.flush()
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    return Handler
