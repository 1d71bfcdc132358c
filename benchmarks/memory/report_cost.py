"""Seconds and peak memory of `ferflow report` over a root of any size, as a command of its own.

    python -m benchmarks.memory.report_cost --faces 1000000 --json figures.json

The root is that of `benchmarks.common.large_root`. The first report of a root also reads the profile of each run, which drift keeps; the
second one does not. Memory is the largest resident set of the process, without its page cache.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common.large_root import RootSize, make_root
from benchmarks.throughput.whole_job import machine

SECONDS, MEGABYTES = 30, 1000
"""What a million faces may cost."""


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the root is built (default: the temporary folder)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        root = Path(folder, "labels")
        faces = sum(manifest.faces for manifest in make_root(root, RootSize(args.faces)))
        rows = [{"report": which, "faces": faces, **reported(root, Path(folder, "report.html"))} for which in ("first", "second")]
    print("| report | faces | seconds | CPU seconds | peak MB | page KB |\n|---|---:|---:|---:|---:|---:|")
    for row in rows:
        spent = f"{row['seconds']:.1f} | {row['cpu_seconds']:.1f} | {row['peak_bytes'] / 1e6:.0f}"
        print(f"| {row['report']} | {row['faces']:,} | {spent} | {row['page_bytes'] / 1e3:.0f} |")
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "reports": rows}, indent=1) + "\n")
    if args.faces <= 1_000_000 and any(row["seconds"] > SECONDS or row["peak_bytes"] > MEGABYTES * 1e6 for row in rows):
        raise SystemExit(f"more than {SECONDS} s or {MEGABYTES} MB")


def reported(root: Path, page: Path) -> dict[str, Any]:
    """One report, by the command."""
    command = [sys.executable, "-P", "-m", "flows.cli.main", "report", str(root), "--to", str(page), "--with-names"]
    started = time.perf_counter()
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(running.pid, 0)
    if status:
        raise SystemExit("the report failed")
    return {
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_bytes": used.ru_maxrss * 1024,  # Linux counts in kibibytes
        "page_bytes": page.stat().st_size,
    }


if __name__ == "__main__":
    main()
