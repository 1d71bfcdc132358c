"""The loop that insightface's documentation shows, with ferflow's network behind it: SCRFD at 640 x 640, one face after another.

    python -m benchmarks.throughput.insightface_script FOLDER SCRFD.onnx --to labels.parquet

`model_zoo.get_model` runs SCRFD through ONNX Runtime as `FaceAnalysis` would, faces are aligned by `face_align.norm_crop`, each goes
through the network by itself, and its row is appended to one Parquet file. Prints JSON: images, faces, seconds from the first picture to
the last row. insightface's SCRFD files are for non-commercial research only.
"""

import argparse
import contextlib
import sys
from pathlib import Path

import fer_core  # noqa: F401  # isort: skip  (first: it keeps ONNX Runtime silent)
import numpy as np
from insightface.model_zoo import get_model
from insightface.utils.face_align import norm_crop
from numpy.typing import NDArray

from benchmarks.throughput.one_by_one import told

SIDE = 640


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("scrfd", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    args = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):  # it says which providers it found
        detector = get_model(str(args.scrfd.absolute()), providers=["CPUExecutionProvider"])
        detector.prepare(ctx_id=-1, input_size=(SIDE, SIDE))

    def crops(picture: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        _, points = detector.detect(picture)
        return [np.ascontiguousarray(norm_crop(picture, face)[:, :, ::-1]) for face in points]

    told(args.folder, args.to, crops)


if __name__ == "__main__":
    main()
