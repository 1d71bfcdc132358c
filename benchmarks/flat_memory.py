"""Peak memory of a run from one thousand to one million images: of the process that plans, hands out and commits, and of a worker.

    python benchmarks/flat_memory.py --to FIGURES                        four sizes, two workers: about 5 minutes
    python benchmarks/flat_memory.py --to FIGURES --sizes 1000 100000

The listing is made up and shards look at nothing (`stand_in_shard.py`); inventory, ledger, plan, fan-out over real Dask workers, staging,
receipts, commit and manifest are the real ones, into a folder. Every size has processes of its own. `after` tells how high the command's
memory had ever been by the end of each step, so the step that raised it shows; bytes an image are those of the largest size over the
second largest. Writes flat_memory.json, prints Markdown.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from record import machine, written
from stand_in_shard import stand_in_job

WORKERS = 2
STEPS = ("start", "list", "plan", "shards", "commit")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every size in a process of its own, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, metavar="FIGURES", help="folder for the JSON file")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.one:
        print(json.dumps(measured(args.folder, args.one)))
        return
    if args.to is None:
        parser.error("--to is missing")
    about, rows = machine(), []
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as root:
            words = [sys.executable, __file__, "--one", str(size), "--folder", root]
            rows.append(json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout))
        print(f"{size:,} images: {rows[-1]['seconds']:.0f} s", file=sys.stderr)
    figures = {"workers": WORKERS, "sizes": rows, "bytes_an_image": bytes_an_image(rows)}
    written(args.to, "flat_memory", figures, about)
    print(table(rows))


def measured(root: str, size: int) -> dict[str, Any]:
    """One run of so many images into an empty root. SystemExit where they are not all committed."""
    from planning import etag, fake_time, night, uri  # noqa: PLC0415  (a worker that imports this module needs none of it)

    from fer_core.collection import inventory_of  # noqa: PLC0415  (the same)
    from fer_core.commit import publish, write_plan  # noqa: PLC0415  (the same)
    from fer_core.listing import Listed  # noqa: PLC0415  (the same)
    from fer_core.store import open_store  # noqa: PLC0415  (the same)
    from tasks.cluster_early import EarlyCluster  # noqa: PLC0415  (the same)
    from tasks.cluster_kinds import LocalCluster  # noqa: PLC0415  (the same)
    from tasks.draft import draft, jobs  # noqa: PLC0415  (the same)
    from tasks.fanout import fan_out  # noqa: PLC0415  (the same)

    def listed() -> Iterator[Listed]:
        return (Listed(uri(number), 150_000 + number % 1000, fake_time(number), etag(number)) for number in range(size))

    cluster = EarlyCluster(LocalCluster(processes=WORKERS))
    try:
        client = cluster.client()
        began, peaks = time.monotonic(), [peak()]
        store, run = open_store(root), replace(night(root, 1), shard_size=0)
        inventory = inventory_of(listed())
        peaks.append(peak())
        drawn = draft(store, run, inventory, workers=WORKERS, force=False)
        del inventory
        plan = write_plan(store, drawn.config, drawn.images, listed=size, unchanged=0, deleted=0)
        shards = plan.images["shard"].to_pylist()[-1] + 1
        peaks.append(peak())
        receipts = fan_out(client, jobs(plan.config, plan.images, list(range(shards))), lambda _: None, work=stand_in_job)
        peaks.append(peak())
        workers = client.run(peak)
        manifest = publish(store, plan.config, receipts)
        peaks.append(peak())
    finally:
        cluster.stop()
    if sum(manifest.statuses.values()) != size:
        raise SystemExit(f"{size} images were listed, {manifest.statuses} are committed")
    told = {"images": size, "shards": shards, "seconds": time.monotonic() - began, "peak_bytes": peaks[-1]}
    return {**told, "after": dict(zip(STEPS, peaks, strict=True)), "worker_peak_bytes": max(workers.values())}


def peak() -> int:
    """Bytes of memory that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def bytes_an_image(rows: Sequence[dict[str, Any]]) -> float | None:
    """Of the command, from the second largest size to the largest; None with a single size."""
    if len(rows) < 2:
        return None
    before, last = sorted(rows, key=lambda row: row["images"])[-2:]
    return float(last["peak_bytes"] - before["peak_bytes"]) / (last["images"] - before["images"])


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    head = ["images", "shards", "seconds", *(f"after {step}, MB" for step in STEPS), "a worker, MB"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---:|" * len(head)]
    for row in rows:
        cells = [f"{row['images']:,}", f"{row['shards']:,}", f"{row['seconds']:.0f}"]
        cells += [f"{row['after'][step] / 1e6:.0f}" for step in STEPS]
        lines.append("| " + " | ".join([*cells, f"{row['worker_peak_bytes'] / 1e6:.0f}"]) + " |")
    each = bytes_an_image(rows)
    return "\n".join(lines) + (f"\n\n{each:.0f} bytes of the command's memory an image; a worker's does not grow." if each else "")


if __name__ == "__main__":
    main()
