"""The obvious script, which ferflow's speed is measured against: one picture after another, one face after another.

    python -m benchmarks.throughput.obvious_script FOLDER YUNET.onnx --to labels.parquet

cv2 decodes, cv2.FaceDetectorYN looks at the picture with its longer side at 640 pixels, each face is aligned and goes through ferflow's
network by itself, unpadded, and its row is appended to one Parquet file. OpenCV and torch use as many threads as they take by themselves.
Prints JSON: images, faces, seconds from the first picture to the last row.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.opencv_yunet import OpenCvYuNet
from benchmarks.throughput.one_by_one import told
from fer_core.align.aligner import align_one

SIDE = 640


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("yunet", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    args = parser.parse_args()
    detector = OpenCvYuNet(args.yunet, SIDE)

    def crops(picture: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        points = detector(picture)[:, 4:14].reshape(-1, 5, 2)
        rgb = np.ascontiguousarray(picture[:, :, ::-1]) if len(points) else picture
        return [align_one(rgb, face) for face in points]

    told(args.folder, args.to, crops)


if __name__ == "__main__":
    main()
