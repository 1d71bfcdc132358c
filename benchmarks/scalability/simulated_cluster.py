"""Utilisation of a whole cluster: the real scheduler and the real fan-out with 64 and 1,000 workers whose jobs sleep.

    python -m benchmarks.scalability.simulated_cluster --to FIGURES                      both sizes: about 7 minutes
    python -m benchmarks.scalability.simulated_cluster --to FIGURES --only 64 --seconds 20

Images of random sizes are listed, planned by `plan_shards` and submitted by `fan_out`, as in any run; workers are real Dask workers,
hundreds in a process (`simulated_workers.py`), that sleep for the time of a shard instead of processing pictures. Conditions: `calm`, in
which shards take the expected time, give or take 20 %; `rough`, in which in addition 1 % of the shards take ten times as long on their
first worker, and 0.2 % lose it half-way; and for 64 workers `rough, nothing twice`, the same without speculative duplicates.

With 64 workers time is scaled down: the largest shards take 5 s instead of half a minute, so that the scheduler has a higher load than in
a real run. `gap` is the mean time between two shards of a worker, and its share of a shard of half a minute is the overhead of the
scheduler once all workers are busy; `ramp` is the time until 95 % of the workers have begun. `ideal` is the time with a scheduler without
overhead that gives each free worker the next shard (list scheduling of the same shards in the same order), without stragglers and, in
brackets, with stragglers and without duplicates. `tail` is the time from the last first submission of a shard, from which on workers become
idle, to the end. CPU is that of the process of scheduler and client. All workers share this machine's cores with the scheduler,
unlike in a real cluster. Writes simulated_cluster.json and simulated_cluster.png, prints Markdown.
"""

import argparse
import base64
import heapq
import logging
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pyarrow as pa
from distributed import Client, LocalCluster

from benchmarks.common.record import machine, write_record
from benchmarks.scalability.simulated_workers import WorkerProfile, profile_json, quiet, simulated
from fer_core.pipeline.shard_jobs import jobs
from fer_core.planning.cost_model import CostRate, ShardSizing
from fer_core.planning.draft import LARGEST_SHARD, SMALLEST_SHARD
from fer_core.planning.sharding import plan_shards
from fer_core.run.configuration import RunConfig
from fer_core.run.part_name import PartName
from fer_core.run.receipts import ShardReceipt
from fer_core.tables.schema import INVENTORY
from tasks.clusters.local import configure, options
from tasks.execution.fan_out import fan_out
from tasks.execution.stragglers import STRAGGLER_RULE

USUAL_BYTES = 150_000
LIFE_SECONDS = 30.0
"""Of a shard in life."""
TEN_MINUTES = 600.0


@dataclass(frozen=True)
class Size:
    """One cluster and its job."""

    workers: int
    seconds: float
    """Of work for each worker."""
    target: float = 10.0
    """Seconds of the largest shards."""
    image_seconds: float = 0.1
    processes: int = 2


SIZES = {64: Size(64, 30.0, 5.0, 0.03, 1), 1000: Size(1000, 90.0, 30.0, 0.1, 2)}
WEATHERS = {"calm": (0.0, 0.0, True), "rough": (0.01, 0.002, True), "rough, nothing twice": (0.01, 0.002, False)}
"""Shares of stragglers and of deaths, and whether jobs are repeated."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every size in every weather; write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True, metavar="FIGURES", help="folder for the JSON file and the plot")
    parser.add_argument("--only", type=int, choices=SIZES, help="workers")
    parser.add_argument("--seconds", type=float, help="of work for each worker")
    args = parser.parse_args(arguments)
    about, runs = machine(), list[dict[str, Any]]()
    sizes = SIZES.values() if args.only is None else [SIZES[args.only]]
    for size in [replace(size, seconds=args.seconds or size.seconds) for size in sizes]:
        with simulated_cluster(size) as client:
            for name, (stragglers, deaths, twice) in WEATHERS.items():
                if not twice and size.target >= LIFE_SECONDS:  # five minutes for what `ideal` tells as well
                    continue
                profile = WorkerProfile(size.image_seconds, USUAL_BYTES, stragglers=stragglers, deaths=deaths)
                runs.append({"weather": name, **measured(client, size, profile, twice=twice)})
                print(f"{size.workers} workers, {name}: {runs[-1]['seconds']:.1f} s", file=sys.stderr)
    shown = [{key: value for key, value in run.items() if key != "busy"} for run in runs]
    write_record(args.to, "simulated_cluster", {"runs": shown}, about)
    draw(runs, args.to / "simulated_cluster.png")
    print(table(runs))


@contextmanager
def simulated_cluster(size: Size) -> Iterator[Client]:
    """A scheduler in this process, as ferflow starts it for local workers, and so many workers in others."""
    configure(verbose=False, frozen_seconds=600)
    dask.config.set(quiet())
    given = options(verbose=False)
    credentials = base64.b64encode(pickle.dumps(given["security"])) + b"\n"
    with LocalCluster(n_workers=0, **given) as cluster, Client(cluster) as client:
        shares = [size.workers // size.processes + (number < size.workers % size.processes) for number in range(size.processes)]
        script = str(Path(__file__).with_name("simulated_workers.py"))
        processes = [
            subprocess.Popen([sys.executable, script, cluster.scheduler_address, str(share)], stdin=subprocess.PIPE, env=_environment())
            for share in shares
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(credentials)
            process.stdin.flush()
        try:
            client.wait_for_workers(size.workers, timeout=180)
            yield client
        finally:
            logging.getLogger("distributed").setLevel(logging.CRITICAL)
            for process in processes:
                assert process.stdin is not None
                process.stdin.close()
                process.wait()


def _environment() -> dict[str, str]:
    folders = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders)), "OMP_NUM_THREADS": "1"}


def measured(client: Client, size: Size, profile: WorkerProfile, *, twice: bool) -> dict[str, Any]:
    """One run. SystemExit where an image was answered for more or less than once."""
    images = planned(size)
    shards = images["shard"].to_numpy()
    bytes_of = np.bincount(shards, weights=images["bytes"].to_numpy())
    wanted = [profile.seconds(PartName(shard), int(count)) for shard, count in enumerate(bytes_of)]
    config = RunConfig("run-a", "2026-01-01", "none", "/none", "none", "none", "none", "none", "0" * 64, purpose=profile_json(profile))
    sent = _counting(client)
    rule = replace(STRAGGLER_RULE, least_seconds=STRAGGLER_RULE.least_seconds * size.target / LIFE_SECONDS if twice else 1e9)
    client.wait_for_workers(size.workers, timeout=180)
    started, cpu = time.time(), time.process_time()
    try:
        shards_of_run = jobs(config, images, list(range(len(bytes_of))))
        receipts = fan_out(client, shards_of_run, lambda _: None, work=simulated, straggler_rule=rule)
    finally:
        del client.submit  # the class has its own
    seconds, cpu = time.time() - started, time.process_time() - cpu
    _check(receipts, images)
    ends = sorted((one.seconds["began"] - started, one.seconds["ended"] - started) for one in receipts)
    last = max(one.seconds["began"] - started for one in receipts if one.seconds["sending"] == 1)
    lots = [profile.lot(PartName(shard)) for shard in range(len(bytes_of))]
    slowed = [one * (profile.slowness if slow else 1.0) for one, (_, slow, _) in zip(wanted, lots, strict=True)]
    starts = sorted({one.seconds["worker"]: began for one, began in _firsts(receipts, started)}.values())
    return {
        **asdict(size),
        "images": images.num_rows,
        "shards": len(receipts),
        "bytes_a_job": int(np.mean(sent["bytes"])),
        "stragglers": sum(slow for _, slow, _ in lots),
        "deaths": sum(dies for _, _, dies in lots),
        "sent": len(sent["bytes"]),
        "won_by_second": sum(one.seconds["sending"] > 1 for one in receipts),
        "seconds_wanted": sum(wanted) / size.workers,
        "seconds_ideal": makespan(wanted, size.workers),
        "seconds_ideal_slowed": makespan(slowed, size.workers),
        "seconds": seconds,
        "ramp": starts[int(0.95 * (len(starts) - 1))],
        "gap": gap(receipts, last + started),
        "tail": seconds - last,
        "cpu_seconds_a_shard": cpu / len(receipts),
        "scheduler_busy_in_life": size.workers * cpu / len(receipts) / LIFE_SECONDS,
        "busy": busy(ends, seconds, size.workers),
    }


def gap(receipts: Sequence[ShardReceipt], until: float) -> float:
    """Seconds that a worker waited between two shards on average, while shards were waiting. until: when the last was sent first."""
    at: dict[float, list[tuple[float, float]]] = {}
    for one in receipts:
        at.setdefault(one.seconds["worker"], []).append((one.seconds["began"], one.seconds["ended"]))
    pairs = [pair for times in at.values() for pair in pairwise(sorted(times))]
    gaps = [after[0] - before[1] for before, after in pairs if after[0] <= until]
    return float(np.mean(gaps)) if gaps else 0.0


def _firsts(receipts: Sequence[ShardReceipt], started: float) -> list[tuple[ShardReceipt, float]]:
    """Receipts by falling time of their beginning, seconds since the start: of a worker the first shard comes last."""
    return sorted(((one, one.seconds["began"] - started) for one in receipts), key=lambda pair: -pair[1])


def planned(size: Size) -> pa.Table:
    """`schema.PLAN` of as many images as keep so many workers busy for so long. Sizes are lognormal, and drawn by a fixed seed."""
    count = round(size.workers * size.seconds / size.image_seconds)
    drawn = np.random.default_rng(1).lognormal(np.log(USUAL_BYTES) - 0.5 * 0.6**2, 0.6, count).astype(np.int64)
    columns = {
        "image_uri": pa.array([f"s3://collection/photos/IMG_{number:08d}.jpg" for number in range(count)]),
        "bytes": pa.array(drawn),
        "etag": pa.array([f"{number * 2654435761 % 2**64:032x}" for number in range(count)]),
        "modified_at": pa.array(np.full(count, 1_700_000_000_000_000)).cast(INVENTORY.field("modified_at").type),
    }
    rate = CostRate.measured(size.image_seconds * count, count, drawn)
    return plan_shards(pa.table(columns).cast(INVENTORY), ShardSizing(size.workers, SMALLEST_SHARD, LARGEST_SHARD, rate, size.target))


def makespan(seconds: Sequence[float], workers: int) -> float:
    """When the last of so many workers ends, each taking the next shard when it is free and at no cost."""
    free_at = [0.0] * workers
    for one in seconds:
        heapq.heapreplace(free_at, free_at[0] + one)
    return max(free_at)


def busy(ends: Sequence[tuple[float, float]], seconds: float, workers: int) -> list[tuple[float, float]]:
    """Seconds since the start, and the share of workers that were at what counted in the end, 200 times."""
    moments = np.linspace(0.0, seconds, 200)
    began, ended = (np.sort([one[side] for one in ends]) for side in (0, 1))
    at_work = np.searchsorted(began, moments, side="right") - np.searchsorted(ended, moments, side="right")
    return [(float(moment), float(count) / workers) for moment, count in zip(moments, at_work, strict=True)]


def _check(receipts: Sequence[ShardReceipt], images: pa.Table) -> None:
    """Each planned image exactly once: one receipt for each shard, of as many images as it has."""
    counts = np.bincount(images["shard"].to_numpy())
    found = sorted((one.part, one.statuses.get("labeled", 0)) for one in receipts)
    if found != [(PartName(shard), int(count)) for shard, count in enumerate(counts)]:
        raise SystemExit("images were answered for more or less than once")


def _counting(client: Client) -> dict[str, list[int]]:
    """Sizes of the jobs that the client sends from now on."""
    sent: dict[str, list[int]] = {"bytes": []}
    submit = client.submit

    def counted(*given: object, **named: object) -> object:
        sent["bytes"].append(len(str(given[2])))
        return submit(*given, **named)

    client.submit = counted
    return sent


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    head = ["workers", "weather", "shards", "sent", "stragglers", "deaths", "work, s", "ideal, s", "took, s", "ramp, s", "gap, ms"]
    lines = ["| " + " | ".join([*head, "at 30 s", "tail, s", "CPU ms a shard"]) + " |", "|---:|---|" + "---:|" * 12]
    for run in runs:
        cells = [
            f"{run['workers']:,}",
            run["weather"],
            f"{run['shards']:,}",
            f"{run['sent']:,}",
            str(run["stragglers"]),
            str(run["deaths"]),
        ]
        ideal = f"{run['seconds_ideal']:.1f}" + (f" ({run['seconds_ideal_slowed']:.0f})" if run["stragglers"] else "")
        cells += [f"{run['seconds_wanted']:.1f}", ideal, f"{run['seconds']:.1f}", f"{run['ramp']:.1f}", f"{1000 * run['gap']:.0f}"]
        cells += [f"{100 * run['gap'] / LIFE_SECONDS:.2f} %", f"{run['tail']:.1f}", f"{1000 * run['cpu_seconds_a_shard']:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    busiest = max(runs, key=lambda run: run["workers"])
    lines += ["", f"Scheduler and client of {busiest['workers']:,} workers with shards of half a minute: "]
    lines[-1] += f"{100 * busiest['scheduler_busy_in_life']:.0f} % of one core."
    for run in (run for run in runs if run["weather"] == "calm"):
        beyond = run["seconds"] - run["seconds_ideal"]
        lines.append(
            f"Calm, {run['workers']:,} workers: {beyond:.1f} s beyond the ideal, {100 * beyond / TEN_MINUTES:.1f} % of ten minutes."
        )
    return "\n".join(lines)


def draw(runs: Sequence[dict[str, Any]], file: Path) -> None:
    """How many workers did what counted, over time: one panel for each size."""
    from fer_core.evaluation.plots.paper import SERIES, heading, inches, sheet

    sizes = sorted({run["workers"] for run in runs})
    with sheet(file, 9.6, 4.6) as figure:
        heading(figure, "A simulated cluster", ("share of workers at a shard that counted, over time",))
        width = 4.1 if len(sizes) > 1 else 8.6
        for number, workers in enumerate(sizes):
            axes = figure.add_axes(inches(figure, 0.6 + 4.7 * number, 0.95, width - 0.2, 2.5))
            for index, run in enumerate(run for run in runs if run["workers"] == workers):
                moments, shares = zip(*run["busy"], strict=True)
                axes.plot(moments, [100 * share for share in shares], color=SERIES[index], linewidth=1.2, label=run["weather"])
            axes.set_title(f"{workers:,} workers, %", loc="left", fontsize=10)
            axes.set_xlabel("seconds")
            axes.set_ylim(0, 105)
            if number == 0:
                figure.legend(*axes.get_legend_handles_labels(), loc="lower left", bbox_to_anchor=(0.06, 0.0), ncols=3, fontsize=9)


if __name__ == "__main__":
    main()
