"""The obvious script, which ferflow's speed is measured against: one picture after another, one face after another.

    python benchmarks/obvious_script.py FOLDER YUNET.onnx --to labels.parquet

cv2 decodes, cv2.FaceDetectorYN looks at the picture with its longer side at 640 pixels, each face is aligned and goes through ferflow's
network by itself, and its row is appended to one Parquet file. Prints JSON: images, faces, seconds from the first picture to the last row.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fer_core.align import align_one
from fer_core.labels import EXPRESSIONS
from fer_core.predict import load_predictor

SIDE = 640
SCHEMA = pa.schema([("file", pa.string()), ("face", pa.int64()), ("expression", pa.string()), ("confidence", pa.float64())])


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("yunet", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    args = parser.parse_args()
    predictor = load_predictor("tiny", "cpu")
    detector = cv2.FaceDetectorYN.create(str(args.yunet), "", (SIDE, SIDE), 0.6)
    files = sorted(args.folder.rglob("*.jpg"))
    faces, start = 0, time.perf_counter()
    with pq.ParquetWriter(args.to, SCHEMA) as writer:
        for file in files:
            picture = cv2.imread(str(file))
            if picture is None:
                continue
            rgb = np.ascontiguousarray(picture[:, :, ::-1])
            for number, points in enumerate(found(detector, picture)):
                answer = predictor.predict(align_one(rgb, points)[None])
                row = [[file.name], [number], [EXPRESSIONS[int(answer.expression[0])]], [float(answer.confidence[0])]]
                writer.write_table(pa.table(row, schema=SCHEMA))
                faces += 1
    print(json.dumps({"images": len(files), "faces": faces, "seconds": time.perf_counter() - start}))


def found(detector: cv2.FaceDetectorYN, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Five points (N, 5, 2) of each face: the eyes, the nose, the corners of the mouth, the picture's left first, in pixels."""
    scale = SIDE / max(picture.shape[:2])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    detector.setInputSize((small.shape[1], small.shape[0]))
    _, faces = detector.detect(small)
    points = np.zeros((0, 5, 2), np.float32) if faces is None else faces[:, 4:14].reshape(-1, 5, 2)
    return points / min(scale, 1.0)


if __name__ == "__main__":
    main()
