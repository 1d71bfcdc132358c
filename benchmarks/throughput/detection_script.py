"""Decoding in full and YuNet, one picture after another: what finding faces costs a simple script, without labelling them.

    python -m benchmarks.throughput.detection_script FOLDER YUNET.onnx --side 640

OpenCV uses as many threads as it takes by itself. Prints JSON: images, faces, seconds from the first picture to the last.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common.opencv_yunet import OpenCvYuNet


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("yunet", type=Path)
    parser.add_argument("--side", type=int, required=True, help="longest side that YuNet gets")
    args = parser.parse_args()
    detector = OpenCvYuNet(args.yunet, args.side)
    files, faces, start = sorted(args.folder.rglob("*.jpg")), 0, time.perf_counter()
    for file in files:
        picture = cv2.imread(str(file))
        faces += 0 if picture is None else len(detector(np.asarray(picture, np.uint8)))
    print(json.dumps({"images": len(files), "faces": faces, "seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
