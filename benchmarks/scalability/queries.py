"""Seconds and memory of questions over a labels root of a million faces, which is drawn first.

    python -m benchmarks.scalability.queries --json FIGURES.json
    python -m benchmarks.scalability.queries --faces 100000 --root ROOT      a root that is there is asked again

Each question is a process of its own, `ferflow query` as a person starts it, whose peak memory is recorded; so are `fer_core.read_labels`
and `ferflow export current`. Prints Markdown.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.common.child import REPOSITORY
from benchmarks.common.large_root import RootSize, make_root

FERFLOW: Final = (sys.executable, "-P", "-m", "flows.cli.main")
SQL: Final = {
    "count": "SELECT count(*) FROM labels",
    "expressions": "SELECT expression, count(*) AS faces FROM current GROUP BY ALL ORDER BY faces DESC",
    "happy share by month": """SELECT date_trunc('month', labeled_at) AS month, avg((expression = 'happiness')::INT)
        FROM current GROUP BY ALL""",
    "three surprised": "SELECT image_uri, count(*) AS n FROM current WHERE expression = 'surprise' GROUP BY ALL HAVING n >= 3",
    "hundred least sure": "SELECT image_uri, face_index, confidence FROM current ORDER BY confidence LIMIT 100",
    "changed labels": """SELECT count(*) FROM labels a JOIN labels b USING (image_sha256, face_index, detector)
        WHERE a.model_digest < b.model_digest AND a.expression <> b.expression""",
}
READ: Final = "import sys, fer_core; fer_core.read_labels(sys.argv[1], columns=['image_uri', 'expression', 'confidence'])"


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--root", type=Path, help="where the root is drawn and kept (default: a temporary folder)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = args.root or Path(place) / "labels"
        if not (root / "_meta").is_dir():
            make_root(root, RootSize(args.faces))
        rows = [{"question": name, **measured(words)} for name, words in commands(root, Path(place)).items()]
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps({"faces": args.faces, "rows": rows}, indent=1) + "\n")


def commands(root: Path, place: Path) -> dict[str, Sequence[str]]:
    """What is measured."""
    return {
        **{name: [*FERFLOW, "query", str(root), sql, "--format", "csv"] for name, sql in SQL.items()},
        "all current rows as Parquet": [*FERFLOW, "query", str(root), "FROM current", "--to", str(place / "current.parquet")],
        "read_labels, three columns": [sys.executable, "-P", "-c", READ, str(root)],
        "export current as CSV": [*FERFLOW, "export", "current", str(root), "--to", str(place / "x.csv")],
    }


def measured(words: Sequence[str]) -> dict[str, float]:
    """Wall and processor seconds, and the largest memory, of one command with its start."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    begin = time.perf_counter()
    with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} failed with exit code {process.returncode}")
    memory = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    spent = {"seconds": time.perf_counter() - begin, "cpu_seconds": used.ru_utime + used.ru_stime}
    return {name: round(value, 2) for name, value in spent.items()} | {"peak_bytes": memory}


def table(figures: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| question | seconds | CPU seconds | memory |", "|---|---:|---:|---:|"]
    lines += [
        f"| {one['question']} | {one['seconds']:.1f} | {one['cpu_seconds']:.1f} | {one['peak_bytes'] / 1e9:.2f} GB |" for one in figures
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
