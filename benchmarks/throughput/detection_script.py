"""Decoding in full and YuNet, one picture after another: what finding faces costs a simple script, without labelling them.

    python -m benchmarks.throughput.detection_script FOLDER YUNET.onnx --side 640

OpenCV uses as many threads as it takes by itself. Prints JSON: images, faces, seconds from the first picture to the last.
"""

import argparse
import json
import time
from pathlib import Path

import cv2

SCORE = 0.6


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("yunet", type=Path)
    parser.add_argument("--side", type=int, required=True, help="longest side that YuNet gets")
    args = parser.parse_args()
    detector = cv2.FaceDetectorYN.create(str(args.yunet), "", (args.side, args.side), SCORE)
    files, faces, start = sorted(args.folder.rglob("*.jpg")), 0, time.perf_counter()
    for file in files:
        picture = cv2.imread(str(file))
        if picture is None:
            continue
        scale = min(1.0, args.side / max(picture.shape[:2]))
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
        detector.setInputSize((small.shape[1], small.shape[0]))
        found = detector.detect(small)[1]
        faces += 0 if found is None else len(found)
    print(json.dumps({"images": len(files), "faces": faces, "seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
