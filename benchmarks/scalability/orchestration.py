"""What Prefect, Dask, planning and committing cost beside the work: whole commands whose shards only wait, for a time that is known.

    python -m benchmarks.scalability.orchestration --to FIGURES               a first run in an empty home, then 20 s and 60 s of work
    python -m benchmarks.scalability.orchestration --to FIGURES --minutes 10  and a run of ten minutes' work: 13 minutes

Each run is `ferflow label` as a person runs it, with its own Prefect server, Dask workers in processes, plan, staging, commit, manifest and
report; only `label_shard` waits so many seconds an image instead of looking (`stand_in_shard.py`). The work of n images on w workers takes
n * seconds / w; whatever the command took beyond that, from its start to its end, is overhead. From a short and a long run follow a fixed
part (start-up, planning, commit, end) and one in proportion to the work (handing out shards, waiting, an uneven end), and from both the
share in a run of ten minutes. `cold` is the first run in a home in which Prefect never ran. CPU seconds are those of the command and its
processes, as far as it waited for them; the work itself needs none. Writes orchestration.json, prints Markdown.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.common.record import machine, write_record
from benchmarks.scalability.stand_in_shard import SECONDS

IMAGE_SECONDS = 0.035
"""As an image of which the listing tells no size is expected to take, so that shards last what they are planned to."""
TEN_MINUTES = 600.0
FIXED_SECONDS, SHARE = 10.0, 0.03
"""What is asked for: a warm run's fixed part, and the share of ten minutes."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True, metavar="FIGURES", help="folder for the JSON file")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, nargs=2, default=[20.0, 60.0], help="of work in the short and in the long run")
    parser.add_argument("--minutes", type=float, help="of work in one more run")
    args = parser.parse_args(arguments)
    about, runs = machine(), dict[str, Any]()
    with tempfile.TemporaryDirectory() as place:
        wanted = {"cold": 1.0, "warm": 1.0, "short": args.seconds[0], "long": args.seconds[1]}
        wanted |= {"whole": 60 * args.minutes} if args.minutes else {}
        for name, seconds in wanted.items():
            runs[name] = measured(Path(place), name, seconds, args.workers)
            print(f"{name}: {runs[name]['seconds']:.1f} s", file=sys.stderr)
    figures = {"workers": args.workers, "image_seconds": IMAGE_SECONDS, "runs": runs, "summary": summary(runs)}
    write_record(args.to, "orchestration", figures, about)
    print(markdown(figures))


def measured(place: Path, name: str, seconds: float, workers: int, server: str | None = None) -> dict[str, Any]:
    """One command with so many seconds of work for each worker, in the one home that all runs of this benchmark share.

    server: address of a Prefect API that is there already; without it, the command starts its own.
    """
    images = max(1, round(seconds * workers / IMAGE_SECONDS))
    source, home = place / f"{name}.txt", place / "home"
    home.mkdir(exist_ok=True)
    source.write_text("".join(f"/nowhere/{name}/IMG_{number:07d}.jpg\n" for number in range(images)))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "FERFLOW", "DASK", "XDG"))}
    folders = [str(Path(__file__).parents[2])]
    environment = {**kept, "HOME": str(home), "PYTHONPATH": os.pathsep.join(folders), SECONDS: str(IMAGE_SECONDS)}
    if server is not None:
        environment["PREFECT_API_URL"] = server
    command = [sys.executable, str(Path(__file__).with_name("stand_in_command.py")), "label", str(source), "--to", str(place / name)]
    command += ["--workers", str(workers), "--detector", "builtin", "--json"]
    started, before = time.monotonic(), children()
    done = subprocess.run(command, env=environment, check=False, stdout=subprocess.PIPE, text=True)
    took, cpu = time.monotonic() - started, children() - before
    if done.returncode:
        raise SystemExit(f"ferflow label failed with exit code {done.returncode}")
    said = json.loads(done.stdout)
    if sum(said["images"].values()) != images:
        raise SystemExit(f"{images} images were planned, {said['images']} came back")
    work = images * IMAGE_SECONDS / workers
    plan = Path(said["manifest"]).with_name("plan.parquet")
    shards = pc.count_distinct(pq.read_table(plan, columns=["shard"])["shard"]).as_py()
    told = {"images": images, "shards": shards, "work_seconds": work, "seconds": took, "overhead_seconds": took - work, "cpu_seconds": cpu}
    return {**told, "startup_seconds": said["startup_seconds"], "after_commit_seconds": took - said["seconds"]}


def children() -> float:
    """CPU seconds of the processes that this one has waited for, and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def summary(runs: dict[str, Any]) -> dict[str, float]:
    """Fixed and proportional overhead, and what follows for ten minutes."""
    short, long = runs["short"], runs["long"]
    slope = (long["overhead_seconds"] - short["overhead_seconds"]) / (long["work_seconds"] - short["work_seconds"])
    slope = max(0.0, slope)  # else the machine was busier during the short one
    fixed = long["overhead_seconds"] - slope * long["work_seconds"]
    in_ten = fixed + slope * TEN_MINUTES
    found = {
        "cold_seconds": runs["cold"]["overhead_seconds"],
        "warm_seconds": runs["warm"]["overhead_seconds"],
        "fixed_seconds": fixed,
        "proportional_share": slope,
        "share_of_ten_minutes": in_ten / TEN_MINUTES,
    }
    if "whole" in runs:
        found["measured_share"] = runs["whole"]["overhead_seconds"] / runs["whole"]["work_seconds"]
    return found


def markdown(figures: dict[str, Any]) -> str:
    """A row a run, then what follows."""
    lines = ["| run | images | shards | work, s | took, s | overhead, s | of which start-up | share | CPU, s |", "|---|" + "---:|" * 8]
    for name, run in figures["runs"].items():
        cells = [name, f"{run['images']:,}", str(run["shards"]), f"{run['work_seconds']:.1f}", f"{run['seconds']:.1f}"]
        cells += [
            f"{run['overhead_seconds']:.1f}",
            f"{run['startup_seconds']:.1f}",
            f"{100 * run['overhead_seconds'] / run['work_seconds']:.1f} %",
            f"{run['cpu_seconds']:.1f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    told = figures["summary"]
    lines += [
        "",
        f"Fixed {told['fixed_seconds']:.1f} s (asked for: {FIXED_SECONDS:g} s), in proportion {100 * told['proportional_share']:.2f} %; "
        f"of ten minutes' work {100 * told['share_of_ten_minutes']:.1f} % (asked for: {100 * SHARE:g} %)"
        + (f", measured {100 * told['measured_share']:.1f} %." if "measured_share" in told else "."),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
