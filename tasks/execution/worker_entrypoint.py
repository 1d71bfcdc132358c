"""What Dask workers run. Text in, text out: neither pixels nor weights nor pickled errors pass through the scheduler."""

import json
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from fer_core.errors import FerflowError
from fer_core.run.configuration import ALIGNMENT, QUALITY
from fer_core.run.shard_job import ShardJob
from fer_core.storage.file_mode import private_process
from tasks.execution.image_timeout import StepTimeouts, TimeLimit, WorkAbandonedError, heartbeat

WORD_SECONDS: Final = 0.01
"""Dask sends events in batches of 2 ms. The event that a job began must be sent before a process can die at its first step."""


def label_job(text: str) -> str:
    """Label one shard. text: `ShardJob` as JSON. Returns JSON: `{"receipt": ...}`, or `{"error": class, "message": sentence}`."""
    from fer_core.pipeline.shard import label_shard

    try:
        return json.dumps({"receipt": label_shard(ShardJob.from_json(json.loads(text)), on_progress=heartbeat).to_json()})
    except FerflowError as error:
        return json.dumps({"error": type(error).__name__, "message": str(error)})


def watched(work: Callable[[str], str], text: str, topic: str, seconds: float, report_images: bool = False) -> str:
    """`work(text)` on a Dask worker. It reports when it begins. When an image takes longer than `seconds`, it reports that image and ends.

    Reports are events of `topic`: `{"key": of the Dask task}`, and `{"key": ..., "stuck_at": URI or None}`. Where the task is
    cancelled meanwhile, because another worker completed it first, it ends at the next image, before anything more is written.

    report_images: also report each image before it is processed, `{"key": ..., "image": URI}`, so that it is known at which one the
    process died. That costs some hundredths of a second an image; it is for jobs whose worker has failed before.
    """
    from distributed import get_worker

    private_process()  # also in workers that ferflow did not start
    worker = get_worker()
    key = str(worker.get_current_task())

    def tell(**what: str | None) -> None:
        worker.log_event(topic, {"key": key, **what})
        said = threading.Event()
        worker.loop.add_callback(said.set)  # runs after the event is queued
        said.wait(1.0)
        time.sleep(WORD_SECONDS)

    def stuck(image: str | None) -> None:
        worker.log_event(topic, {"key": key, "stuck_at": image})

    def turned_to(image: str | None) -> None:
        if report_images:
            tell(image=image)

    def cancelled() -> bool:
        task = worker.state.tasks.get(key)  # read from this thread, changed by the worker's own
        return task is None or task.state == "cancelled"

    tell()
    try:
        with TimeLimit(StepTimeouts(seconds), stuck, given_up=cancelled, turned_to=turned_to):
            return work(text)
    except WorkAbandonedError:
        return ""


def warm_up() -> None:
    """Load the libraries that the first shard needs, in a worker that ferflow started."""
    from fer_core.pipeline.worker_models import prepare_process
    from fer_core.tables.light_arrow import keep_pandas_out

    private_process()
    prepare_process()
    keep_pandas_out()


def release(alignment: str = ALIGNMENT, quality: str = QUALITY) -> dict[str, str | None]:
    """Versions that must be equal in the submitting process and on workers. None for what is not installed."""
    return {
        "Python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "dask": _version("dask"),
        "distributed": _version("distributed"),
        "ferflow": _version("ferflow"),
        "pipeline": f"{alignment}, {quality}",  # two checkouts may have the same release number
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
