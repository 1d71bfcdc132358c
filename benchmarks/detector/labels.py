"""Label the pictures that the built-in detector learns from, with YuNet as the teacher.

    python -m benchmarks.detector.labels --to out/detector [--data ../shared/data] [--part 0/2]

Writes one Parquet file: pictures as they were and the faces seen in them. `--part` divides the work over processes.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from benchmarks.detector.training.material import LOOSE, PORTRAIT, SCENE, SMALL, Found, decoded, found, write
from benchmarks.detector.training.teacher import Teacher
from fer_core.detect.yunet import YuNet
from fer_core.errors import FerflowError
from fer_core.types import Faces

FILES = ("face_detection_yunet_2023mar.onnx", "yunet_n_640_640.onnx")
SIDES = {SCENE: (768, 1280, 2048), SMALL: (144, 192)}
"""Longest sides of the teacher's looks; all other kinds are at most 384 px."""
OTHER_SIDES = (224, 384, 576)
FRAME = 0.25
"""What is added around a tight crop, by repeating its border: the teacher finds faces that fill a picture less well."""


def labelled(pictures: Iterator[Found], networks: list[YuNet]) -> Iterator[tuple[Found, Faces]]:
    """Every picture with its faces."""
    for number, picture in enumerate(pictures):
        pixels = decoded(picture.data)
        teacher = Teacher(networks, SIDES.get(picture.kind, OTHER_SIDES))
        if picture.kind == SMALL:
            frame = round(FRAME * max(pixels.shape[:2]))
            framed = cv2.copyMakeBorder(pixels, frame, frame, frame, frame, cv2.BORDER_REPLICATE)
            faces = teacher.faces(np.asarray(framed, np.uint8))
            faces = Faces(faces.boxes - frame, faces.points - frame, faces.scores)
        else:
            faces = teacher.faces(pixels)
        if picture.kind == SCENE or number % 50 == 0:
            print(number, picture.name, len(faces), flush=True)
        yield picture, faces


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--small", type=int, default=0, help="tight crops of FER2013 to label beside the rest (default 0)")
    parser.add_argument("--kind", choices=(PORTRAIT, LOOSE, SCENE, SMALL), help="only such pictures")
    parser.add_argument("--part", default="0/1", metavar="N/OF")
    args = parser.parse_args()
    part, of = (int(number) for number in args.part.split("/"))
    cv2.setNumThreads(1)
    networks = [YuNet(args.data / "detectors" / name, score_threshold=0.2) for name in FILES]
    args.to.mkdir(parents=True, exist_ok=True)
    chosen = (picture for picture in found(args.data, args.small) if args.kind in {None, picture.kind})
    mine = (picture for number, picture in enumerate(chosen) if number % of == part)
    print(write(labelled(mine, networks), args.to / f"labelled-{part}-{of}.parquet"), "pictures")


if __name__ == "__main__":
    try:
        main()
    except FerflowError as error:
        sys.exit(str(error))
