"""Accuracy of whole pictures through `ferflow label`: a folder set's `<split>/<expression>/<file>`, compared with its folders.

python -m benchmarks.accuracy.end_to_end FOLDER [--split test] [--detector SPEC] [--model NAME|DIR] [--prior PRIOR] [--min-face PX|N%]

Of several faces in a picture the largest counts. A picture without a face is wrong, and also told apart. `balanced_seven` is the mean
recall of the expressions without contempt; `kept` are labels without `needs_review`. Intervals are of 95 %, by the bootstrap over the
pictures with a face. Prints one JSON object.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from fer_core.evaluation.intervals import bootstrap_intervals
from fer_core.labels import EXPRESSIONS, FOLDER_NAMES
from fer_core.models.calibration import expected_calibration_error

LARGEST = """
SELECT image_uri, arg_max([{columns}], face_size_px), arg_max(needs_review, face_size_px)
FROM read_parquet('{root}/labels/**/*.parquet', hive_partitioning = true) GROUP BY image_uri
"""
SEVEN = [index for index, name in enumerate(EXPRESSIONS) if name != "contempt"]


@dataclass(frozen=True, slots=True)
class Label:
    """Of the largest face of a picture."""

    probabilities: tuple[float, ...]
    needs_review: bool


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--detector", default="auto")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--prior", help="see ferflow label --help")
    parser.add_argument("--min-face", help="see ferflow label --help")
    args = parser.parse_args()
    source = (args.source / args.split).absolute()
    with tempfile.TemporaryDirectory() as root:
        options = ["--to", root, "--detector", args.detector, "--model", args.model, "--json"]
        options += ["--prior", args.prior] if args.prior else []
        options += ["--min-face", args.min_face] if args.min_face else []
        done = subprocess.run(
            [sys.executable, "-P", "-m", "flows.cli.main", "label", str(source), *options], check=True, stdout=subprocess.PIPE
        )
        columns = ", ".join(f"p_{name}" for name in EXPRESSIONS)
        rows = duckdb.connect().execute(LARGEST.format(root=root, columns=columns)).fetchall()
    run = json.loads(done.stdout)
    told = {"detector": run["detector"], "model": run["model"], "prior": args.prior, "min_face": args.min_face, "run": run["images"]}
    labels = {uri: Label(tuple(probabilities), needs_review) for uri, probabilities, needs_review in rows}
    print(json.dumps({**told, **_scored(source, labels)}, indent=2))


def _scored(source: Path, labels: Mapping[str, Label]) -> dict[str, Any]:
    """Figures of all pictures."""
    files = sorted(file for file in source.glob("*/*") if file.is_file())
    truth = np.array([EXPRESSIONS.index(FOLDER_NAMES[file.parent.name.lower()]) for file in files], np.int64)
    found = np.array([str(file) in labels for file in files])
    nothing = Label((0.0,) * len(EXPRESSIONS), True)
    chosen = [labels.get(str(file), nothing) for file in files]
    probabilities = np.array([label.probabilities for label in chosen], np.float64)
    right = (probabilities.argmax(axis=1) == truth) & found
    kept = np.array([not label.needs_review for label in chosen])
    recall = {EXPRESSIONS[index]: round(float(right[truth == index].mean()), 4) for index in np.unique(truth)}
    seven = [value for index in SEVEN if (value := recall.get(EXPRESSIONS[index])) is not None]
    figures: dict[str, Any] = {
        "pictures": len(files),
        "without_face": int((~found).sum()),
        "accuracy": round(float(right.mean()), 4),
        "balanced_seven": round(sum(seven) / max(1, len(seven)), 4),
        "recall": recall,
    }
    if not found.any():
        return figures
    intervals = bootstrap_intervals(probabilities[found], truth[found])
    return {
        **figures,
        "accuracy_where_found": round(float(right[found].mean()), 4),
        "ece": round(expected_calibration_error(probabilities[found], truth[found]), 4),
        "kept": round(float(kept.mean()), 4),
        "right_where_kept": round(float(right[kept].mean()), 4) if kept.any() else None,
        "intervals": {name: [round(bound, 4) for bound in both] for name, both in intervals.items()},
    }


if __name__ == "__main__":
    main()
