"""Ship a trained detector: copy its weights into the package and write what people should know of it beside them.

    python -m benchmarks.detector.card out/detector/run/builtin.safetensors out/detector/*.parquet --figures detectors.json

FIGURES is what `benchmarks/detector/compare.py --json` said of it.
"""

import argparse
import json
import shutil
import sys
from collections import Counter
from pathlib import Path

from benchmarks.detector.training.material import held_out, read
from fer_core.detect.builtin.weights import SHIPPED, load_detector
from fer_core.errors import FerflowError
from fer_core.hashing import file_sha256

GAPS = (
    "profiles are found less surely than frontal faces, and their boxes are looser: few were learnt from",
    "hands, ears and balls are sometimes taken for faces",
    "faces turned by more than about 45 degrees in the picture's plane are mostly not found",
    "the labels it learnt from are another detector's: what YuNet never sees, it was not told of",
)

VALIDATION_ONLY = (
    "AFW (103 photographs), HELEN (120), eleven WIDER photographs: thresholds and the sizes of both refinement passes were chosen on them"
)


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("labelled", nargs="+", type=Path)
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument("--run", default="one run of benchmarks/detector/training/train.py", help="how it was trained, in a sentence")
    args = parser.parse_args()
    network = load_detector(args.weights)
    pictures = Counter((picture.kind, held_out(picture.name)) for picture in read(args.labelled))
    card = {
        "name": "builtin",
        "sha256": file_sha256(args.weights),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "network": network.config.to_json(),
        "training": args.run,
        "pictures": {kind: count for (kind, kept), count in sorted(pictures.items()) if not kept},
        "held_out": {kind: count for (kind, kept), count in sorted(pictures.items()) if kept},
        "teacher": "YuNet 2023mar and yunet_n_640_640 (Apache-2.0), averaged over sizes and mirror images",
        "validation_only": VALIDATION_ONLY,
        "figures": next(row for row in json.loads(args.figures.read_text("utf-8"))["detectors"] if row["detector"] == "builtin"),
        "known_gaps": GAPS,
        "licence": "Apache-2.0",
    }
    if args.weights.resolve() != SHIPPED.resolve():
        SHIPPED.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(args.weights, SHIPPED)
    SHIPPED.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    print(SHIPPED.with_suffix(".json"))


if __name__ == "__main__":
    try:
        main()
    except FerflowError as error:
        sys.exit(str(error))
