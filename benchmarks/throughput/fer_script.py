"""Faces and expressions that the `fer` package finds in a folder's pictures. Runs in an environment of its own, which knows no ferflow.

    FER-ENVIRONMENT/bin/python -m benchmarks.throughput.fer_script FOLDER

Prints JSON: seconds from the first picture to the last, and for each picture, named by its path below the folder, its faces as
[x, y, width, height, expression, score].
"""

import json
import logging
import os
import sys
import time
from pathlib import Path

PICTURES = {".jpg", ".jpeg", ".png"}


def main() -> None:
    """See the module's text."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import cv2
    from fer.fer import FER

    logging.disable(logging.INFO)
    detector = FER()
    folder = Path(sys.argv[1])
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in PICTURES)
    said, start = {}, time.perf_counter()
    for file in files:
        said[file.relative_to(folder).as_posix()] = [faces(one) for one in detector.detect_emotions(cv2.imread(str(file)))]
    seconds = time.perf_counter() - start
    print(json.dumps({"images": len(files), "faces": sum(map(len, said.values())), "seconds": seconds, "said": said}))


def faces(one: dict) -> list:
    """One answer of the package's."""
    expression = max(one["emotions"], key=one["emotions"].get)
    return [*(int(number) for number in one["box"]), expression, float(one["emotions"][expression])]


if __name__ == "__main__":
    main()
