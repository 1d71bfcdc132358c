"""Whether speed has changed answers: labels of the pipeline as it is against those of the sequential fp32 path it came from.

    python -m benchmarks.accuracy.label_equality --to FIGURES [--photos FOLDER] [--images 400] [--reference REVISION]

The reference is the repository itself at a revision whose pipeline looks at one picture after another in plain torch, checked out into a
folder of its own (`git worktree`, which needs the history) and run by the same environment on the same pictures. Composed pictures unless
--photos names a folder; photographs are brought to half a megapixel, and repeated where they are fewer than wanted. --exact sets both
beside the same steps with the networks in float64 (`exact_labels.py`), to tell how far rounding alone moves an answer.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.accuracy.exact_labels import exact_labels
from benchmarks.accuracy.matched import agreement, of_labels
from benchmarks.common.pictures import repeated, varied
from benchmarks.common.record import machine, write_record

REFERENCE = "381d49f"
"""The last revision before the pipeline inside a shard."""
HERE = Path(__file__).resolve().parents[2]


def main() -> None:
    """Label twice, compare, write label_equality.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--reference", default=REFERENCE, metavar="REVISION")
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--to", type=Path, required=True, metavar="FIGURES", help="folder for the JSON file")
    args = parser.parse_args()
    about = machine()
    with tempfile.TemporaryDirectory() as place, checkout(args.reference, Path(place) / "reference") as reference:
        to = Path(place) / "pictures"
        pictures = repeated(args.photos, to, args.images) if args.photos else varied(to, args.images)
        runs = {name: labelled(code, pictures, Path(place) / name, args.workers) for name, code in (("now", HERE), ("before", reference))}
        said = {name: of_labels(Path(place) / name, pictures) for name in runs}
        same: dict[str, Any] = agreement(said["now"], said["before"])
        if args.exact:
            exact = exact_labels(pictures, args.workers)
            same["exact"] = {name: agreement(labels, exact) for name, labels in said.items()}
    settings = {"source": "photographs" if args.photos else "generated", "images": args.images, "reference": args.reference}
    pipelines = {name: {key: run[key] for key in ("detector", "model", "pipeline_digest")} for name, run in runs.items()}
    write_record(args.to, "label_equality", {**settings, **same, "pipelines": pipelines}, about)


@contextmanager
def checkout(revision: str, folder: Path, repository: Path = HERE) -> Iterator[Path]:
    """The repository at a revision, in a folder that is gone afterwards."""
    git = ["git", "-C", str(repository), "worktree"]
    done = subprocess.run([*git, "add", "--detach", str(folder), revision], check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"no checkout of {revision}, which needs the repository with its history: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True, capture_output=True)


def labelled(code: Path, pictures: Path, root: Path, workers: int) -> dict[str, Any]:
    """`ferflow label` by the code in a folder, in its own processes and its workers'."""
    used = _python(code, "-c", "import fer_core; print(fer_core.__file__)").strip()
    if not Path(used).is_relative_to(code.resolve()):
        raise SystemExit(f"the code that runs is {used}, not that in {code}")
    options = ["--detector", "builtin", "--model", "tiny", "--workers", str(workers), "--json"]
    said: dict[str, Any] = json.loads(_python(code, "-m", "flows.cli.main", "label", str(pictures), "--to", str(root), *options))
    return said


def _python(code: Path, *words: str) -> str:
    """What this environment's interpreter prints, with the code in a folder before all other."""
    environment = {**os.environ, "PYTHONPATH": str(code)}
    return subprocess.run([sys.executable, *words], cwd=code, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
