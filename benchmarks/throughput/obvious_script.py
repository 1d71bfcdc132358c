"""The obvious script, which ferflow's speed is measured against: one picture after another, one face after another.

    python -m benchmarks.throughput.obvious_script FOLDER YUNET.onnx --to labels.parquet

cv2 decodes, cv2.FaceDetectorYN looks at the picture with its longer side at 640 pixels, each face is aligned and goes through ferflow's
network by itself, unpadded, and its row is appended to one Parquet file. OpenCV and torch use as many threads as they take by themselves.
Prints JSON: images, faces, seconds from the first picture to the last row.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

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
    detector = cv2.FaceDetectorYN.create(str(args.yunet), "", (SIDE, SIDE), 0.6)

    def crops(picture: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        points = found(detector, picture)
        rgb = np.ascontiguousarray(picture[:, :, ::-1]) if len(points) else picture
        return [align_one(rgb, face) for face in points]

    told(args.folder, args.to, crops)


def found(detector: cv2.FaceDetectorYN, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Five points (N, 5, 2) of each face: the eyes, the nose, the corners of the mouth, the picture's left first, in pixels."""
    scale = SIDE / max(picture.shape[:2])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    detector.setInputSize((small.shape[1], small.shape[0]))
    _, faces = detector.detect(small)
    points = np.zeros((0, 5, 2), np.float32) if faces is None else faces[:, 4:14].reshape(-1, 5, 2)
    return np.asarray(points / min(scale, 1.0), np.float32)


if __name__ == "__main__":
    main()
