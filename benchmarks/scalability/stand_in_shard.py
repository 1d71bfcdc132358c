"""In the place of looking at pictures: wait for as long as asked, find no face, and stage parts and receipt as a shard does.

For benchmarks of everything around the work. `python -m benchmarks.scalability.stand_in_command` is `ferflow` with it.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable

from fer_core.predict.batching import empty_results
from fer_core.run.receipts import PartReceipt, ShardReceipt
from fer_core.run.shard_job import ShardJob
from fer_core.storage.paths import receipt_file, staged_file
from fer_core.storage.store import open_store
from fer_core.tables.builder import ImageFacts, images_table, labels_table, part_metadata
from fer_core.tables.parquet_writer import write_part
from fer_core.tables.schema import NO_FACE
from tasks.execution.image_timeout import heartbeat

SECONDS = "STAND_IN_SECONDS"
"""Environment variable: seconds an image takes; 0 if absent."""


def stand_in(job: ShardJob, tools: object = None, on_progress: Callable[[str | None], None] = lambda _: None) -> ShardReceipt:
    """What stands in the place of `fer_core.pipeline.shard.label_shard`."""
    del tools
    began, each = time.monotonic(), float(os.environ.get(SECONDS, "0"))
    for number, image in enumerate(job.images, start=1):
        on_progress(image.uri)
        time.sleep(max(0.0, began + number * each - time.monotonic()))
    on_progress(None)
    facts = [ImageFacts(image, NO_FACE) for image in job.images]
    tables = {"labels": labels_table(job.config, facts, empty_results().predictions), "images": images_table(job.config, facts)}
    store, parts = open_store(job.config.root), []
    for name, table in tables.items():
        data = write_part(table, part_metadata(job.config))
        parts.append(PartReceipt(name, job.part, table.num_rows, len(data), hashlib.sha256(data).hexdigest()))
        store.write_bytes(staged_file(job.config.run_id, parts[-1]), data)
    counts = {NO_FACE: len(job.images)}
    receipt = ShardReceipt(job.part, tuple(parts), counts, {}, 0, {"detect": time.monotonic() - began})
    store.write_bytes(receipt_file(job.config.run_id, job.part), json.dumps(receipt.to_json(), indent=1).encode())
    return receipt


def stand_in_job(text: str) -> str:
    """What stands in the place of `tasks.execution.worker_entrypoint.label_job`."""
    return json.dumps({"receipt": stand_in(ShardJob.from_json(json.loads(text)), on_progress=heartbeat).to_json()})


def install() -> None:
    """From now on shards of this process are not looked at."""
    import fer_core.pipeline.shard
    import fer_core.pipeline.worker_models

    fer_core.pipeline.shard.label_shard = stand_in
    fer_core.pipeline.worker_models.prepare_process = lambda: None
