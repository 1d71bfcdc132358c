"""Cost of planning a nightly run: seconds and memory by the number of listed images, of which 1,000 are new.

    python -m benchmarks.scalability.planning --sizes 10000 100000 1000000 --png docs/images/planning.png --json figures.json

Listing and committed runs are synthetic: a first night over all but the last nine thousand images, in parts of 1,000 like large runs;
eight nights of 1,000 new images each, in eight parts; and a listing with 1,000 more. Nothing is cached between nights, so this is the cost
of each night. Every size is planned in a process of its own, whose peak memory is recorded, with and without mapped files,
which the system reclaims when it needs memory. `list` turns a storage's listing into the inventory (without the requests to the storage),
`known` reads the index from manifests and parts, `select` compares, `write` numbers the shards and writes the plan. Prints Markdown. A size
whose runs need more disk or memory than there is ends the command.
"""

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from benchmarks.common.child import answer_of
from benchmarks.memory.own_memory import own_memory, peak
from fer_core.collection.inventory import inventory_of
from fer_core.collection.local_listing import ListedFile
from fer_core.commit.manifest import Manifest, Part
from fer_core.commit.plan import Plan, write_plan
from fer_core.planning.draft import shard_size_for
from fer_core.planning.incremental import load_processed_index, select_changed
from fer_core.planning.sharding import plan_shards
from fer_core.run.configuration import RunConfig
from fer_core.run.part_name import PartName
from fer_core.run.receipts import PartReceipt
from fer_core.storage.paths import manifest_file, published_file
from fer_core.storage.store import open_store
from fer_core.tables.parquet_writer import write_part
from fer_core.tables.schema import IMAGE_STATUSES, IMAGES, LABELED, TIMESTAMP

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEW, NIGHTS, WORKERS = 1_000, 8, 2
STAGES = ("list", "known", "select", "write")
SECONDS, GIGABYTES, AT = 60, 2, 1_000_000
"""What planning may cost, and at which size."""
DAY_US = 86_400_000_000


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where ledgers are built (default: the temporary folder)")
    parser.add_argument("--png", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step", choices=("build", "plan"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step == "build":
        build(str(args.folder), args.sizes[0])
    elif args.step == "plan":
        print(json.dumps(planned(str(args.folder), args.sizes[0])))
    else:
        rows = [measured(size, args.folder) for size in args.sizes]
        print(table(rows))
        if args.json:
            args.json.write_text(json.dumps(rows, indent=1) + "\n")
        if args.png:
            draw(rows, args.png)


def measured(size: int, folder: Path | None) -> dict[str, Any]:
    """One size: the ledger is built by one process, planned over by another."""
    with tempfile.TemporaryDirectory(dir=folder) as root:
        for step in ("build", "plan"):
            told: dict[str, Any] = answer_of("benchmarks.scalability.planning", "--step", step, "--sizes", size, "--folder", root)
        parts = sum(1 for _ in Path(root, "images").rglob("*.parquet"))
        return {**told, "parts": parts, "ledger_bytes": sum(file.stat().st_size for file in Path(root).rglob("*") if file.is_file())}


def planned(root: str, size: int) -> dict[str, Any]:
    """Seconds by stage, and peak memory, of planning tonight."""
    store, run = open_store(root), night(root, NIGHTS + 1)
    marks, started = [time.perf_counter()], time.process_time()
    with own_memory() as own:
        inventory = inventory_of(listed(size))
        marks.append(time.perf_counter())
        known = load_processed_index(store, run.source, run.pipeline_digest)
        marks.append(time.perf_counter())
        selection = select_changed(inventory, known)
        marks.append(time.perf_counter())
        images = plan_shards(selection.new, shard_size_for(selection.new.num_rows, WORKERS))
        write_plan(store, Plan(run, images, listed=size, unchanged=selection.unchanged, deleted=selection.deleted))
        marks.append(time.perf_counter())
    if (images.num_rows, selection.unchanged, selection.deleted) != (NEW, size - NEW, 0):
        raise SystemExit(f"planned {images.num_rows}, unchanged {selection.unchanged}, deleted {selection.deleted} of {size}")
    seconds = {stage: round(end - start, 3) for stage, (start, end) in zip(STAGES, pairwise(marks), strict=True)}
    cpu = round(time.process_time() - started, 3)
    spent = {"seconds": round(marks[-1] - marks[0], 3), "cpu_seconds": cpu, "stages": seconds}
    return {"listed": size, **spent, "peak_bytes": peak(), "own_peak_bytes": own[0]}


def listed(size: int) -> Iterator[ListedFile]:
    """What a storage would list: keys in order, sizes, etags."""
    for number in range(size):
        yield ListedFile(uri(number), 100_000 + number, fake_time(number), etag(number))


def uri(number: int) -> str:
    return f"s3://collection/photos/{number // 10_000:05d}/IMG_{number:08d}.jpg"


def etag(number: int) -> str:
    return hashlib.md5(number.to_bytes(8, "big"), usedforsecurity=False).hexdigest()


def fake_time(number: int) -> int:
    return 1_600_000_000_000_000 + number * 1_000_000


def night(root: str, number: int) -> RunConfig:
    """The run of one night."""
    digest = "0" * 64
    run = RunConfig(f"night-{number}", "2026-01-01", "s3://collection/photos", root, "none", "none", "none", "none", digest)
    return replace(run, run_date=f"2026-01-{number + 1:02d}", started_us=1_767_225_600_000_000 + number * DAY_US, shard_size=1000)


def build(root: str, size: int) -> None:
    """Commit the nights before tonight."""
    ends = [size - NEW * (NIGHTS + 1 - number) for number in range(NIGHTS + 1)]
    if ends[0] < 1:
        raise SystemExit(f"{size} images are too few: each of {NIGHTS + 1} nights has {NEW} new ones")
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        commit(night(root, number), range(start, end), 1000 if number == 0 else NEW // NIGHTS, end)


def commit(run: RunConfig, numbers: range, part_size: int, total: int) -> None:
    """One night's images parts and manifest, as `commit.publish` leaves them."""
    store, parts = open_store(run.root), []
    for shard, start in enumerate(range(numbers.start, numbers.stop, part_size)):
        data = write_part(rows(run, range(start, min(start + part_size, numbers.stop))), {})
        receipt = PartReceipt("images", PartName(shard), min(part_size, numbers.stop - start), len(data), "")
        path = Path(run.root, published_file(run, receipt))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)  # without the fsync of a store: this is only the stage
        parts.append(Part("images", published_file(run, receipt), receipt.rows, len(data), hashlib.sha256(data).hexdigest()))
    counts = {status: len(numbers) if status == LABELED else 0 for status in IMAGE_STATUSES}
    begin = (1, run.run_id, run.run_date, run.source, "", "none", "none", "0" * 64, run.pipeline_digest, "", run.to_json())
    moment = "2026-01-01T00:00:00.000000+00:00"
    manifest = Manifest(*begin, total, total - len(numbers), 0, counts, len(numbers), {}, tuple(parts), moment, moment, {})
    store.write_bytes(manifest_file(run.run_id), manifest.to_bytes())


def rows(run: RunConfig, numbers: range) -> pa.Table:
    """Rows of the images table."""
    count = len(numbers)
    values = {
        "image_uri": [uri(number) for number in numbers],
        "image_sha256": [hashlib.sha256(number.to_bytes(8, "big")).hexdigest() for number in numbers],
        "bytes": np.arange(numbers.start, numbers.stop) + 100_000,
        "etag": [etag(number) for number in numbers],
        "modified_at": pa.array([fake_time(number) for number in numbers], TIMESTAMP),
        "status": [LABELED] * count,
        "n_faces": [1] * count,
        "pipeline_digest": [run.pipeline_digest] * count,
        "run_id": [run.run_id] * count,
        "seen_at": pa.array([run.started_us] * count, TIMESTAMP),
    }
    columns = [pa.array(values[field.name], field.type) if field.name in values else pa.nulls(count, field.type) for field in IMAGES]
    return pa.table(columns, schema=IMAGES)


def table(figures: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    head = ["listed", "parts", "seconds", *STAGES, "CPU seconds", "own memory", "with mapped files"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---:|" * len(head)]
    for one in figures:
        stages = [f"{one['stages'][stage]:.2f}" for stage in STAGES]
        cells = [f"{one['listed']:,}", f"{one['parts']:,}", f"{one['seconds']:.2f}", *stages, f"{one['cpu_seconds']:.2f}"]
        memory = [f"{one[kind] / 1e9:.2f} GB" for kind in ("own_peak_bytes", "peak_bytes")]
        lines.append("| " + " | ".join([*cells, *memory]) + " |")
    return "\n".join(lines)


def draw(figures: Sequence[dict[str, Any]], file: Path) -> None:
    """Seconds and memory over the number of listed images."""
    from fer_core.evaluation.plots.paper import MARKS, SERIES, heading, inches, sheet

    with sheet(file, 9.6, 5.2) as figure:
        heading(figure, "Planning a night", (f"{NEW:,} new images among those listed; dotted: what it may cost at {AT:,}",))
        left, right = (figure.add_axes(inches(figure, place, 1.0, 3.75, 2.95)) for place in (0.8, 5.5))
        sizes = [one["listed"] for one in figures]
        for index, stage in enumerate(STAGES):
            values = [max(one["stages"][stage], 1e-3) for one in figures]
            left.plot(sizes, values, color=SERIES[index + 1], marker=MARKS[index + 1], linewidth=1.2, label=stage)
        left.plot(sizes, [one["seconds"] for one in figures], color=SERIES[0], marker=MARKS[0], label="all")
        figure.legend(*left.get_legend_handles_labels(), loc="lower left", bbox_to_anchor=(0.06, 0.0), ncols=5, fontsize=9)
        for index, kind in enumerate(("peak_bytes", "own_peak_bytes")):
            right.plot(sizes, [one[kind] / 1e9 for one in figures], color=SERIES[index], marker=MARKS[index])
        _finish(left, "seconds", SECONDS, 1e-3)
        _finish(right, "peak memory, GB; below: without mapped files", GIGABYTES, 0.05)


def _finish(axes: "Axes", label: str, limit: float, lowest: float) -> None:
    from fer_core.evaluation.plots.paper import SOFT

    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_plain)
        axis.set_minor_formatter(lambda value, place: "")
    axes.set_xlabel("images listed")
    axes.set_title(label, loc="left", fontsize=10)
    axes.set_ylim(lowest, max(axes.get_ylim()[1], 2.5 * limit))
    axes.plot([axes.get_xlim()[0], AT, AT], [limit, limit, axes.get_ylim()[0]], color=SOFT, linestyle=":", linewidth=1.2)
    axes.margins(x=0.02)


def _plain(value: float, place: float) -> str:
    """A tick: 0.01, 10, 1,000,000."""
    del place
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


if __name__ == "__main__":
    main()
