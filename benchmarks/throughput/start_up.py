"""How long one photograph takes, from the command to its end, against the bare imports of Prefect and Dask, and where the time goes.

    python -m benchmarks.throughput.start_up
    python -m benchmarks.throughput.start_up --rounds 5 --before OTHER_CHECKOUT/.venv/bin/python --to FIGURES

The parties take turns, and medians are shown. Homes have Prefect's database from an earlier run; `--fresh` measures empty ones as well. CPU
seconds of the processes are sampled every 20 ms: each may have used up to that much more. --before: another ferflow, in the same turns.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.common.record import machine, write_record
from flows.cli.demo import demo_pictures

SAMPLE_SECONDS = 0.02
IMPORTS = ("-c", "import prefect, distributed")
ROLES = (("uvicorn", "Prefect's API"), ("flows.server.watchdog", "watchdog"), ("resource_tracker", "resource tracker"))
"""By a part of the command line."""


def timed(words: Sequence[str], home: Path) -> dict[str, Any]:
    """Wall seconds of a command, CPU seconds by role of its processes, and what it printed. SystemExit where it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {"HOME": str(home)}
    seconds: dict[int, float] = {}
    roles: dict[int, str] = {}
    begin = time.perf_counter()
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        tree = psutil.Process(process.pid)
        while process.poll() is None:
            for part in (tree, *children(tree)):
                with suppress(psutil.Error):  # it has ended
                    used = part.cpu_times()
                    words_of_it = " ".join(part.cmdline())
                    if words_of_it:  # one that has just ended has none
                        roles[part.pid] = "command" if part is tree else role(words_of_it)
                    seconds[part.pid] = used.user + used.system
            time.sleep(SAMPLE_SECONDS)
        wall, printed = time.perf_counter() - begin, process.stdout.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} failed with exit code {process.returncode}")
    total: defaultdict[str, float] = defaultdict(float)
    for pid, used_seconds in seconds.items():
        total[roles.get(pid, "other")] += used_seconds
    return {"wall": wall, "cpu": dict(total), "printed": printed}


def children(tree: psutil.Process) -> list[psutil.Process]:
    """Processes below it."""
    try:
        return tree.children(recursive=True)
    except psutil.Error:
        return []


def role(words: str) -> str:
    """Of a process by its command line."""
    return next((name for part, name in ROLES if part in words), "worker")


def one_picture(python: str, picture: Path, home: Path, fresh: bool) -> dict[str, Any]:
    """One run of `ferflow label` over a folder with one picture, into an empty root."""
    with tempfile.TemporaryDirectory() as place:
        used = Path(place) / "home" if fresh else home
        used.mkdir(exist_ok=True)
        words = [python, "-P", "-m", "flows.cli.main", "label", str(picture.parent), "--to", f"{place}/labels", "--json"]
        run = timed(words, used)
    run["ready"] = json.loads(run.pop("printed"))["startup_seconds"]
    return run


def middle(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians."""
    names = sorted({name for run in runs for name in run["cpu"]})
    told: dict[str, Any] = {"wall": round(median(run["wall"] for run in runs), 3)}
    if "ready" in runs[0]:
        told["ready"] = round(median(run["ready"] for run in runs), 3)
    return told | {"cpu": {name: round(median(run["cpu"].get(name, 0.0) for run in runs), 2) for name in names}}


def measured(parties: dict[str, str], rounds: int, fresh: bool) -> dict[str, Any]:
    """parties: Python by name; the first one is this ferflow."""
    runs: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as place:
        picture = Path(place) / "photos" / "photo.png"
        picture.parent.mkdir()
        demo_pictures(Path(place) / "originals")[0].rename(picture)
        homes = {name: Path(place) / f"home-{name}" for name in parties}
        for name, python in parties.items():
            one_picture(python, picture, homes[name], fresh=False)  # builds the database, and reads everything once
        for _ in range(rounds):
            runs.setdefault("imports", []).append(timed([sys.executable, *IMPORTS], Path(place)))
            for name, python in parties.items():
                runs.setdefault(name, []).append(one_picture(python, picture, homes[name], fresh=False))
                if fresh:
                    runs.setdefault(f"{name}, fresh home", []).append(one_picture(python, picture, homes[name], fresh=True))
    return {"rounds": rounds, "runs": {name: middle(some) for name, some in runs.items()}}


def markdown(figures: dict[str, Any]) -> str:
    """One line a party."""
    runs = figures["runs"]
    bare = runs["imports"]["wall"]
    lines = [
        f"Medians of {figures['rounds']}, in turns; {figures['machine']['cores']} cores.",
        "",
        "| | wall, s | times the imports | ready to label after, s | CPU seconds by process |",
        "|---|---:|---:|---:|---|",
    ]
    for name, run in runs.items():
        used = sorted(run["cpu"].items(), key=lambda pair: -pair[1])
        spent = ", ".join(f"{who} {seconds:.2f}" for who, seconds in used if seconds >= 0.05)
        lines.append(f"| {name} | {run['wall']:.2f} | {run['wall'] / bare:.2f} | {run.get('ready', '')} | {spent} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write with --to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fresh", action="store_true", help="also with an empty home")
    parser.add_argument("--before", metavar="PYTHON", help="of another ferflow")
    parser.add_argument("--to", type=Path, help="folder for the figures")
    args = parser.parse_args(arguments)
    about = machine()
    parties = {"ferflow": sys.executable, **({"before": args.before} if args.before else {})}
    figures = measured(parties, args.rounds, args.fresh)
    print(markdown({**figures, "machine": about}))
    if args.to:
        write_record(args.to, "start_up", figures, about)


if __name__ == "__main__":
    main()
