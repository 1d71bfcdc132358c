"""One shard of a run, from image URIs to staged parts and a receipt. `label_shard` is the only function that runs on Dask workers.

It may run twice, also concurrently: parts are named by their digests, and rows depend only on the image and the run. The receipt, which
marks the shard as finished, is written last.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from functools import partial

import pyarrow as pa

from fer_core.decode.read_prefetch import Read
from fer_core.labels import EXPRESSIONS
from fer_core.pipeline.label_images import LabelledImages, process_images
from fer_core.pipeline.label_reuse import ReusedLabels, reuse_previous_labels
from fer_core.pipeline.worker_models import WorkerModels, load_worker_models
from fer_core.predict.batching import empty_results
from fer_core.run.part_name import PartName
from fer_core.run.receipts import PartReceipt, ShardReceipt
from fer_core.run.shard_job import ShardJob
from fer_core.storage.paths import receipt_file, staged_file
from fer_core.storage.store import Store, open_store, read_uri
from fer_core.tables.builder import ImageFacts, faces_table, images_table, labels_table, part_metadata
from fer_core.tables.parquet_writer import merged, write_part
from fer_core.tables.reasons import reasons_of
from fer_core.tables.schema import CRASHED, QUARANTINE
from fer_core.timing import Stopwatch


def label_shard(
    job: ShardJob,
    tools: WorkerModels | None = None,
    on_progress: Callable[[str | None], None] = lambda _: None,
    *,
    store: Store | None = None,
    read: Read | None = None,
) -> ShardReceipt:
    """Label the images of one shard, stage its parts and its receipt.

    tools: a detector and a predictor to use instead of those of the run. on_progress: called with the URI of each image before it is
    processed, and with None before any other work. store: to use instead of the run's root. read: in place of `read_uri`.
    Each image of the job gives one row of the images part, also if it fails; results of an earlier run for the same content are reused.
    DetectorError or ModelError if this worker's models differ from those of the run; StoreError if staging fails.
    """
    watch = Stopwatch()
    images = tuple(sorted(job.images, key=lambda ref: ref.uri))
    store = store or open_store(job.config.root)
    read = read or partial(read_uri, anonymous=job.config.anonymous)
    with watch.stage("read"):
        reused = reuse_previous_labels(store, job.config, () if job.crashed else images, on_progress)
    on_progress(None)
    images = tuple(ref for ref in images if ref.uri not in reused.uris)
    if job.crashed:
        labels = LabelledImages([ImageFacts(ref, CRASHED, job.reason) for ref in images], empty_results())
    elif images:
        with watch.stage("load"):
            ready = tools or load_worker_models(job.config)
        labels = process_images(images, job.config, ready, watch, on_progress=on_progress, read=read)
    else:
        labels = LabelledImages([], empty_results())
    with watch.stage("write"):
        parts = _stage(store, job, labels, reused)
    receipt = _receipt(job.part, parts, labels, reused, watch)
    store.write_bytes(receipt_file(job.config.run_id, job.part), json.dumps(receipt.to_json(), indent=1).encode())
    return receipt


def _stage(store: Store, job: ShardJob, labels: LabelledImages, reused: ReusedLabels) -> tuple[PartReceipt, ...]:
    """Write the parts. Parts without rows are written too, so that every table can be read after the first run."""
    tables = {
        "labels": labels_table(job.config, labels.facts, labels.answers.predictions),
        "images": images_table(job.config, labels.facts),
    }
    if job.config.keep_crops:
        tables["faces"] = faces_table(job.config, labels.facts, labels.answers.crops_png)
    return tuple(_stage_part(store, job, name, merged([table, reused.tables[name]])) for name, table in tables.items())


def _stage_part(store: Store, job: ShardJob, name: str, table: pa.Table) -> PartReceipt:
    data = write_part(table, part_metadata(job.config))
    part = PartReceipt(name, job.part, table.num_rows, len(data), hashlib.sha256(data).hexdigest())
    store.write_bytes(staged_file(job.config.run_id, part), data)
    return part


def _receipt(
    part: PartName, parts: tuple[PartReceipt, ...], labels: LabelledImages, reused: ReusedLabels, watch: Stopwatch
) -> ShardReceipt:
    statuses = Counter(facts.status for facts in labels.facts) + Counter(reused.tables["images"]["status"].to_pylist())
    expressions = Counter(EXPRESSIONS[index] for index in labels.answers.predictions.expression)
    expressions += Counter(reused.tables["labels"]["expression"].to_pylist())
    seconds = {stage: round(value, 4) for stage, value in watch.seconds.items()}
    failed_again = sum(facts.ref.failed_before and facts.status in QUARANTINE for facts in labels.facts)
    faces = len(labels.answers.predictions) + reused.tables["labels"].num_rows
    return ShardReceipt(
        part,
        parts,
        dict(sorted(statuses.items())),
        dict(sorted(expressions.items())),
        faces,
        seconds,
        len(reused.uris) + labels.copies,
        failed_again,
        reasons_of(labels.facts),
    )
