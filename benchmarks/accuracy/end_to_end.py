"""Accuracy of whole pictures through `ferflow label`: a folder set's `<split>/<expression>/<file>`, compared with its folders.

python -m benchmarks.accuracy.end_to_end FOLDER [--split test] [--detector SPEC] [--model NAME|DIR]

Of several faces in a picture the largest counts. Pictures without a face are wrong in `accuracy`, and told apart. Prints one JSON object.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import duckdb

from fer_core.labels import FOLDER_NAMES

LARGEST = """
SELECT image_uri, arg_max(expression, face_size_px) FROM read_parquet('{root}/labels/**/*.parquet', hive_partitioning = true)
GROUP BY image_uri
"""


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--detector", default="auto")
    parser.add_argument("--model", default="tiny")
    args = parser.parse_args()
    source = (args.source / args.split).absolute()
    with tempfile.TemporaryDirectory() as root:
        options = ["--to", root, "--detector", args.detector, "--model", args.model, "--json"]
        done = subprocess.run(
            [sys.executable, "-P", "-m", "flows.cli.main", "label", str(source), *options], check=True, stdout=subprocess.PIPE
        )
        said = dict(duckdb.sql(LARGEST.format(root=root)).fetchall())
    print(json.dumps({"detector": args.detector, "run": json.loads(done.stdout)["images"], **_scored(source, said)}, indent=2))


def _scored(source: Path, said: dict[str, str]) -> dict[str, object]:
    """Shares of pictures that are right, of all and of those with a face, and right by class."""
    truth = {str(file): FOLDER_NAMES[file.parent.name.lower()] for file in sorted(source.glob("*/*")) if file.is_file()}
    right = Counter(label for uri, label in truth.items() if said.get(uri) == label)
    faces = Counter(truth.values())
    with_face = sum(uri in said for uri in truth)
    return {
        "pictures": len(truth),
        "without_face": len(truth) - with_face,
        "accuracy": round(right.total() / len(truth), 4),
        "accuracy_where_found": round(right.total() / max(1, with_face), 4),
        "recall": {name: round(right[name] / count, 4) for name, count in faces.items()},
    }


if __name__ == "__main__":
    main()
