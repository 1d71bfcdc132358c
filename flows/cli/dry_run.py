"""Dry run: the images that a run would read, and its expected time. Writes nothing; starts neither Prefect nor Dask."""

from dataclasses import dataclass
from functools import partial
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.collection.inventory import collect
from fer_core.commit.manifest import Manifest
from fer_core.commit.publish import committed_runs, read_manifest, staged_receipts, unfinished_shards
from fer_core.planning.draft import draft
from fer_core.storage.store import Store, open_store
from flows.cli.stage_progress import StageProgress
from flows.label_params import LabelParams
from flows.label_summary import removed_lines, unlisted_lines
from flows.output import print_result
from flows.setup.checks import check_id
from flows.setup.label import configure, load_resumable_plan

START_SECONDS: Final = 8.0
BUSY_SECONDS: Final = {"builtin": 0.25, "yunet": 0.5, "scrfd": 0.3, "insightface": 0.4}
"""Of one core for one photograph, detection to table: 37 photographs of about a megapixel, crowds among them, on a small busy machine."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Busy seconds an image."""

    seconds: float
    source: str
    """Description of the source of the figure."""


def dry_run(params: LabelParams, as_json: bool) -> int:
    """Print the result."""
    store, cluster = open_store(params.to), params.workers_wanted
    if params.resume is not None:
        plan = load_resumable_plan(params)
        config = plan.config
        todo = unfinished_shards(plan, staged_receipts(store, params.resume))
        images = plan.images.filter(pc.is_in(plan.images["shard"], value_set=pa.array(todo, pa.int32())))
    else:
        config = configure(params)
        check_id(store, params.run_id)
        with StageProgress() as progress:
            found = collect(params.source, params.source_options, on_listed=partial(progress, "listed images"))
            progress("planning")
            workers = cluster.planning_concurrency()
            plan = draft(store, config, found, workers=workers, force=params.force)
        images, config = plan.images, plan.config
    rate = rate_for(store, config.pipeline_digest, config.detector)
    size = pc.sum(images["bytes"]).as_py() or 0
    workers = min(cluster.max_concurrency(), pc.count_distinct(images["shard"]).as_py()) if images.num_rows else 0
    minutes = (START_SECONDS + images.num_rows * rate.seconds / workers) / 60 if workers else 0.0
    value = {
        "dry_run": True,
        "listed": plan.listed,
        "unchanged": plan.unchanged,
        "excluded": plan.excluded,
        "ignored": dict(plan.ignored),
        "denied": plan.denied,
        "expired": plan.expired,
        "to_read": images.num_rows,
        "bytes": size,
        "expected_minutes": round(minutes, 2),
        "seconds_an_image": round(rate.seconds, 4),
        "rate": rate.source,
        "workers": workers,
        "shard_size": config.shard_size,
        "detector": config.detector,
        "pipeline_digest": config.pipeline_digest,
    }
    who = f"{workers} worker{'' if workers == 1 else 's'}"
    lines = (
        f"{plan.listed:,} images listed, {plan.unchanged:,} unchanged, {images.num_rows:,} to read ({_bytes(size)})",
        *unlisted_lines(plan.excluded, plan.ignored),
        *removed_lines(plan.denied, plan.expired),
        f"expected: about {_minutes(minutes)} with {who}, at {rate.seconds:.3f} s an image and core ({rate.source})",
        f"detector {config.detector}, shards of {config.shard_size} at most; nothing was written",
    )
    print_result(as_json, value, lines)
    return 0


def rate_for(store: Store, pipeline_digest: str, detector: str) -> Rate:
    """From the latest run of this root that processed enough images with the same pipeline, else a default of the detector's kind."""
    kind = detector.partition(":")[0]
    measured = [manifest for manifest in _manifests(store) if manifest.pipeline_digest == pipeline_digest]
    if not measured:
        return Rate(BUSY_SECONDS.get(kind, max(BUSY_SECONDS.values())), f"usual for {kind} on photographs of a megapixel")
    latest = max(measured, key=lambda manifest: manifest.committed_at)
    busy = sum(seconds for stage, seconds in latest.seconds.items() if stage != "load")
    return Rate(busy / sum(latest.statuses.values()), f"measured in run {latest.run_id}")


def _manifests(store: Store) -> list[Manifest]:
    """Of runs that processed ten images or more."""
    manifests = [read_manifest(store, run_id) for run_id in committed_runs(store)]
    return [manifest for manifest in manifests if sum(manifest.statuses.values()) >= 10]


def _bytes(size: int) -> str:
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def _minutes(minutes: float) -> str:
    if minutes < 1:
        return f"{60 * minutes:.0f} seconds"
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
