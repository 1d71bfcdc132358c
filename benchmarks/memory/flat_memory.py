"""Peak memory of a run from one thousand to one million images: of the process that plans, hands out and commits, and of a worker.

    python -m benchmarks.memory.flat_memory --to FIGURES                        four sizes, two workers: about 8 minutes
    python -m benchmarks.memory.flat_memory --to FIGURES --sizes 1000 100000

The listing is made up and shards look at nothing (`stand_in_shard.py`); inventory, ledger, plan, fan-out over real Dask workers, staging,
receipts, commit and manifest are the real ones, into a folder. Every size has processes of its own. A second night lists the same images
and a hundredth more, so that its plan asks what the first one answered. By the end of each step, `after` tells how high the command's
memory had ever been as the system counts it, mapped files included, which it takes back when it needs memory; `own` tells how high it had
been without them (Linux, looked at every 5 ms). Bytes an image are those of the largest size over the second largest, of the command's own
memory. Writes flat_memory.json, prints Markdown.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.common.child import answer_of
from benchmarks.common.record import machine, write_record
from benchmarks.memory.own_memory import own_memory, peak
from benchmarks.scalability.stand_in_shard import stand_in_job

WORKERS = 2
MORE = 100
"""The second night has one more image for so many of the first."""
STEPS = ("start", "list", "plan", "shards", "commit")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every size in a process of its own, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, metavar="FIGURES", help="folder for the JSON file")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--night", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.one:
        print(json.dumps(measured(args.folder, args.one, args.night)))
        return
    if args.to is None:
        parser.error("--to is missing")
    about, rows = machine(), []
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as root:
            for night in (1, 2):
                rows.append(answer_of("benchmarks.memory.flat_memory", "--one", size, "--folder", root, "--night", night))
                print(f"{size:,} images, night {night}: {rows[-1]['seconds']:.0f} s", file=sys.stderr)
    figures = {"workers": WORKERS, "sizes": rows, "bytes_an_image": bytes_an_image(rows)}
    write_record(args.to, "flat_memory", figures, about)
    print(table(rows))


def measured(root: str, size: int, number: int = 1) -> dict[str, Any]:
    """One run over so many images: the first night into an empty root, the second over a hundredth more. SystemExit where any is amiss."""
    from benchmarks.scalability.planning import etag, fake_time, night, uri
    from fer_core.collection.inventory import inventory_of
    from fer_core.collection.local_listing import ListedFile
    from fer_core.commit.plan import write_plan
    from fer_core.commit.publish import publish
    from fer_core.pipeline.shard_jobs import jobs
    from fer_core.planning.draft import draft
    from fer_core.storage.store import open_store
    from tasks.clusters.early_start import EarlyCluster
    from tasks.clusters.local import LocalCluster
    from tasks.execution.fan_out import fan_out

    total = size if number == 1 else size + max(size // MORE, 1)

    def listed() -> Iterator[ListedFile]:
        return (ListedFile(uri(image), 150_000 + image % 1000, fake_time(image), etag(image)) for image in range(total))

    cluster = EarlyCluster(LocalCluster(processes=WORKERS))
    with own_memory() as own:

        def note() -> None:
            peaks.append(peak())
            owns.append(max(own))

        try:
            client = cluster.client()
            began, peaks, owns = time.monotonic(), list[int](), list[int]()
            note()
            store, run = open_store(root), replace(night(root, number), shard_size=0)
            inventory = inventory_of(listed())
            note()
            drawn = draft(store, run, inventory, workers=WORKERS, force=False)
            del inventory
            plan = write_plan(store, drawn)
            shards = plan.images["shard"].to_pylist()[-1] + 1
            note()
            receipts = fan_out(client, jobs(plan.config, plan.images, list(range(shards))), lambda _: None, work=stand_in_job)
            note()
            workers = client.run(peak)
            manifest = publish(store, plan.config, receipts)
            note()
        finally:
            cluster.close()
    new = total if number == 1 else total - size
    if sum(manifest.statuses.values()) != new or (drawn.unchanged, drawn.deleted) != (total - new, 0):
        raise SystemExit(f"of {total} images {new} are new; {manifest.statuses} are committed, {drawn.unchanged} unchanged")
    told = {"images": size, "night": number, "shards": shards, "seconds": time.monotonic() - began, "peak_bytes": peaks[-1]}
    after = {"after": dict(zip(STEPS, peaks, strict=True)), "own": dict(zip(STEPS, owns, strict=True))}
    return {**told, **after, "own_peak_bytes": owns[-1], "worker_peak_bytes": max(workers.values())}


def bytes_an_image(rows: Sequence[dict[str, Any]]) -> float | None:
    """Of the command's own memory in the first night, from the second largest size to the largest; None with a single size."""
    first = sorted((row for row in rows if row["night"] == 1), key=lambda row: row["images"])
    if len(first) < 2:
        return None
    before, last = first[-2:]
    return float(last["own_peak_bytes"] - before["own_peak_bytes"]) / (last["images"] - before["images"])


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    head = ["images", "night", "shards", "seconds", *(f"own after {step}, MB" for step in STEPS), "with mapped files, MB", "a worker, MB"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---:|" * len(head)]
    for row in rows:
        cells = [f"{row['images']:,}", str(row["night"]), f"{row['shards']:,}", f"{row['seconds']:.0f}"]
        cells += [f"{row['own'][step] / 1e6:.0f}" for step in STEPS]
        lines.append("| " + " | ".join([*cells, f"{row['peak_bytes'] / 1e6:.0f}", f"{row['worker_peak_bytes'] / 1e6:.0f}"]) + " |")
    each = bytes_an_image(rows)
    return "\n".join(lines) + (f"\n\n{each:.0f} bytes of the command's own memory an image." if each is not None else "")


if __name__ == "__main__":
    main()
