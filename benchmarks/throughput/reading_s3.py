"""How fast pictures come from S3: as workers read them, against a plain loop over s3fs, in one process and one run.

    python -m benchmarks.throughput.reading_s3 [--pictures N] [--kilobytes K] [--latency MS [MS ...]] [--json FILE]

The server, moto's, is a process of its own on this machine, and a proxy between the two holds every request back as the way to a real store
would. Loop and workers take turns; the figures are medians over `--rounds`, and the ratio is what to look at.
"""

import argparse
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import s3fs

from fer_core.collection.inventory import list_images
from fer_core.decode.read_prefetch import REQUESTS_AHEAD, ReadPrefetcher
from fer_core.run.shard_job import ImageRef
from fer_core.storage.store import open_store, read_uri

REPOSITORY = Path(__file__).resolve().parents[2]
LIMIT = 64 * 2**20
SERVER = """
import sys, threading
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


class Proxy:
    """Passes connections on, and holds back what comes from the client."""

    def __init__(self, port: int) -> None:
        self.seconds = 0.0
        self._target = port
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            client, _ = self._listening.accept()
            server = socket.create_connection(("127.0.0.1", self._target))
            for one, other, delayed in ((client, server, True), (server, client, False)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pass_on, args=(one, other, delayed), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket, delayed: bool) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 18):
                if delayed:
                    time.sleep(self.seconds)
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)


def loop(images: Sequence[ImageRef]) -> int:
    """The plain loop."""
    fs = s3fs.S3FileSystem()
    return sum(len(fs.cat_file(image.uri)) for image in images)


def workers(images: Sequence[ImageRef]) -> int:
    """What `fer_core.pipeline.shard` does."""
    with ReadPrefetcher(images, LIMIT, read_uri) as ahead:
        return sum(len(ahead.take(image)) for image in images)


def seconds(way: Callable[[Sequence[ImageRef]], int], images: Sequence[ImageRef], size: int) -> float:
    began = time.perf_counter()
    assert way(images) == size
    return time.perf_counter() - began


def measure(proxy: Proxy, images: Sequence[ImageRef], milliseconds: float, rounds: int) -> dict[str, object]:
    """Pictures a second of both, in turns."""
    size = sum(image.size or 0 for image in images)
    proxy.seconds = milliseconds / 1000
    taken: dict[str, list[float]] = {"loop": [], "workers": []}
    for number in range(rounds + 1):
        for name, way in (("loop", loop), ("workers", workers)):
            value = seconds(way, images, size)
            if number:  # the first round opens connections
                taken[name].append(value)
    rates = {name: len(images) / statistics.median(values) for name, values in taken.items()}
    ratios = [one / other for one, other in zip(taken["loop"], taken["workers"], strict=True)]
    return {
        "latency_ms": milliseconds,
        "loop_images_per_second": round(rates["loop"], 1),
        "workers_images_per_second": round(rates["workers"], 1),
        "workers_megabytes_per_second": round(rates["workers"] * size / len(images) / 1e6, 1),
        "ratio": round(statistics.median(ratios), 2),
        "ratio_lowest": round(min(ratios), 2),
        "ratio_highest": round(max(ratios), 2),
    }


def main() -> None:
    options = _options()
    with subprocess.Popen(
        [sys.executable, "-P", "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        assert server.stdout is not None
        proxy = Proxy(int(server.stdout.readline()))
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(
            AWS_ENDPOINT_URL=f"http://127.0.0.1:{proxy.port}", AWS_ACCESS_KEY_ID="somebody", AWS_SECRET_ACCESS_KEY="something"
        )
        s3fs.S3FileSystem().mkdir("benchmark")
        store = open_store("s3://benchmark/photos")
        for number in range(options.pictures):
            store.write_bytes(f"{number:05d}.jpg", secrets.token_bytes(1000 * options.kilobytes))
        listed = list_images("s3://benchmark/photos").to_pylist()
        images = [ImageRef(row["image_uri"], row["bytes"], row["etag"], None) for row in listed]
        found = [measure(proxy, images, milliseconds, options.rounds) for milliseconds in options.latency]
        assert server.stdin is not None
        server.stdin.close()
    value = {"pictures": options.pictures, "kilobytes": options.kilobytes, "requests_ahead": REQUESTS_AHEAD, "latencies": found}
    print(json.dumps(value, indent=1))
    if options.json:
        Path(options.json).write_text(json.dumps(value, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--kilobytes", type=int, default=150, help="of each; a photograph of half a megapixel has about as many")
    parser.add_argument("--latency", type=float, nargs="+", default=[0, 20, 100], help="added to each request, in milliseconds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="also write the figures there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
