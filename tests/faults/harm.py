"""Imported by workers, so that pictures do harm that end in certain bytes; stand-ins look at the others, and nothing large is loaded."""

import os
import resource
import threading
from pathlib import Path

import fer_core.decode.decoder
import fer_core.pipeline.shard
import fer_core.pipeline.worker_models
from tests.faults.endings import DEADLY, GATED, HANGING
from tests.support import fakes

_decode = fer_core.decode.decoder.decode


def harmful(data, limits, side=None, admit=lambda _: None):
    """What stands in `fer_core.decode.decoder.decode`'s place."""
    if data.endswith(DEADLY):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.abort()
    if data.endswith(HANGING):
        threading.Event().wait()
    if data.endswith(GATED):
        gate = Path(os.environ["GATE"])
        with gate.with_suffix(".seen").open("a") as file:
            file.write(f"{os.getpid()}\n")
        while not gate.exists():
            threading.Event().wait(0.05)
    return _decode(data, limits, side, admit)


fer_core.decode.decoder.decode = harmful
fer_core.pipeline.shard.load_worker_models = lambda config: fakes.tools()
fer_core.pipeline.worker_models.prepare_process = lambda: None
