"""Many Dask workers in one process, whose work is to wait: stand-ins for the machines of a cluster under a real scheduler.

    python -m benchmarks.scalability.simulated_workers tcp://127.0.0.1:8786 500

Each is a real `distributed.Worker` with a connection, a heartbeat and a thread of its own, and runs the very function that ferflow sends
(`tasks.execution.worker_entrypoint.watched`); only `simulated` stands for labelling. A worker that dies breaks its connection without a
word, as a machine that loses its power does; another one takes its place after a second. Ends when its standard input is closed.
"""

import asyncio
import base64
import hashlib
import json
import math
import pickle
import random
import sys
import threading
import time
import zlib
from dataclasses import asdict, dataclass
from typing import Any

import dask
from distributed import Security, Worker, get_worker

from fer_core.run.part_name import PartName
from fer_core.run.receipts import ShardReceipt
from fer_core.run.shard_job import ShardJob
from tasks.execution.image_timeout import heartbeat

BREATH_SECONDS = 0.5
"""How often waiting work turns to its next image."""
RESTART_SECONDS = 1.0


@dataclass(frozen=True)
class WorkerProfile:
    """What happens to shards. Drawn from the part's name alone, so that every run of one plan meets the same."""

    image_seconds: float
    """Of an image of `usual_bytes`; work is in proportion to bytes."""
    usual_bytes: int
    spread: float = 0.2
    """Standard deviation of the logarithm of a shard's seconds against what was expected."""
    stragglers: float = 0.0
    """Share of shards that take `slowness` times as long where they are sent first."""
    slowness: float = 10.0
    deaths: float = 0.0
    """Share of shards whose first worker dies half-way."""

    def lot(self, part: PartName) -> tuple[float, bool, bool]:
        """Of one shard: how much longer than expected it takes, whether its first worker is slow, whether it dies."""
        drawn = random.Random(hashlib.sha256(str(part).encode()).digest())
        noise = math.exp(drawn.gauss(-(self.spread**2) / 2, self.spread))
        luck = drawn.random()
        return noise, luck < self.stragglers, self.stragglers <= luck < self.stragglers + self.deaths

    def seconds(self, part: PartName, size: int) -> float:
        """That a shard of so many bytes takes on a sound worker."""
        return self.lot(part)[0] * self.image_seconds * size / self.usual_bytes


def simulated(text: str) -> str:
    """Replaces `tasks.execution.worker_entrypoint.label_job`. Its receipt says when, where and in which attempt."""
    job = ShardJob.from_json(json.loads(text))
    profile = WorkerProfile(**json.loads(job.config.purpose))
    worker = get_worker()
    sending = int(str(worker.get_current_task()).rpartition("/")[2])
    _, slow, dies = profile.lot(job.part)
    seconds = profile.seconds(job.part, sum(image.size or 0 for image in job.images))
    began = time.time()
    if sending == 1 and dies:
        _wait(seconds / 2, job)
        worker.loop.add_callback(_die, worker)
        threading.Event().wait(RESTART_SECONDS)
        return ""
    _wait(seconds * (profile.slowness if slow and sending == 1 else 1.0), job)
    place = float(zlib.crc32(worker.address.encode()))
    told = {"began": began, "ended": time.time(), "sending": float(sending), "worker": place}
    return json.dumps({"receipt": ShardReceipt(job.part, (), {"labeled": len(job.images)}, {}, 0, told).to_json()})


def _wait(seconds: float, job: ShardJob) -> None:
    end, nothing = time.monotonic() + seconds, threading.Event()
    while (left := end - time.monotonic()) > 0:
        heartbeat(job.images[0].uri)
        nothing.wait(min(left, BREATH_SECONDS))


def _die(worker: Worker) -> None:
    worker.batched_stream.abort()


def profile_json(profile: WorkerProfile) -> str:
    """As it travels in a run's purpose."""
    return json.dumps(asdict(profile))


def quiet() -> dict[str, Any]:
    """Dask's configuration for workers of which a process has hundreds: what each does for itself alone is done rarely or not at all."""
    return {
        "distributed.worker.profile.enabled": False,
        "distributed.admin.tick.interval": "10 s",
        "distributed.admin.tick.limit": "1 h",
        "distributed.admin.tick.cycle": "10 s",
        "distributed.admin.system-monitor.interval": "60 s",
        "distributed.admin.system-monitor.gil.enabled": False,
        "distributed.admin.log-length": 0,
        "distributed.admin.low-level-log-length": 0,
        "distributed.worker.http.routes": [],
        "distributed.comm.timeouts.connect": "60 s",
        "distributed.comm.timeouts.tcp": "120 s",
    }


async def serve(address: str, count: int) -> None:
    """Keep so many workers until standard input ends, whose first line is the cluster's certificate."""
    security = pickle.loads(base64.b64decode(sys.stdin.readline()))  # from the benchmark that started this process, by its pipe
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    places = [asyncio.create_task(_place(address, security, number)) for number in range(count)]
    await asyncio.wait([ended])
    for place in places:
        place.cancel()
    await asyncio.gather(*places, return_exceptions=True)


async def _place(address: str, security: Security, number: int) -> None:
    await asyncio.sleep(number * 0.005)  # not all at once
    while True:
        async with Worker(address, nthreads=1, memory_limit=0, dashboard=False, host="127.0.0.1", security=security) as worker:
            await worker.finished()
        await asyncio.sleep(RESTART_SECONDS)


if __name__ == "__main__":
    import logging
    import os

    from benchmarks.scalability import simulated_workers  # the work's module has one name everywhere

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    dask.config.set(simulated_workers.quiet())
    asyncio.run(simulated_workers.serve(sys.argv[1], int(sys.argv[2])), debug=False)
    os._exit(0)  # threads that wait are not waited for
