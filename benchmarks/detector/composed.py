"""Photographs of many megapixels with annotated faces, composed of smaller ones: one, four or nine of them on a canvas, in turn.

    python -m benchmarks.detector.composed DATA FOLDER [--count 18] [--megapixels 12]

Takes AFW's photographs and those of `photos/boxes_xyxy.json` below DATA, one after another, scales each into its cell and writes JPEG files
of quality 90 with `boxes_xyxy.json` beside them. What is composed depends on DATA and the options alone.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

GRIDS: Final = (1, 2, 3)
"""Photographs across and down, in turn."""
SHAPE: Final = 4 / 3
GREY: Final = 118


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=18)
    parser.add_argument("--megapixels", type=float, default=12.0)
    args = parser.parse_args()
    compose(annotated(args.data), args.folder, args.count, args.megapixels)


def annotated(data: Path) -> list[tuple[Path, list[list[float]]]]:
    """Files with the boxes of their faces, x0, y0, x1, y1."""
    photos = data / "photos"
    afw = json.loads((photos / "afw" / "annotations.json").read_text())
    others = json.loads((photos / "boxes_xyxy.json").read_text())
    return [(photos / "afw" / name, value["boxes_xyxy"]) for name, value in afw.items()] + [
        (photos / name, boxes) for name, boxes in others.items()
    ]


def compose(photos: Sequence[tuple[Path, list[list[float]]]], folder: Path, count: int, megapixels: float) -> dict[str, list[list[float]]]:
    """Write `count` pictures; the boxes in each by its name."""
    folder.mkdir(parents=True)
    height = round((megapixels * 1e6 / SHAPE) ** 0.5)
    width, turns, boxes = round(height * SHAPE), _endless(photos), dict[str, list[list[float]]]()
    for number in range(count):
        grid = GRIDS[number % len(GRIDS)]
        canvas, found = np.full((height, width, 3), GREY, np.uint8), list[list[float]]()
        for cell in range(grid**2):
            found += _placed(canvas, grid, cell, *next(turns))
        name = f"composed-{number:03d}.jpg"
        Image.fromarray(canvas).save(folder / name, quality=90)
        boxes[name] = found
    (folder / "boxes_xyxy.json").write_text(json.dumps(boxes, indent=1) + "\n")
    return boxes


def _endless(photos: Sequence[tuple[Path, list[list[float]]]]) -> Iterator[tuple[Path, list[list[float]]]]:
    while True:
        yield from photos


def _placed(canvas: NDArray[np.uint8], grid: int, cell: int, file: Path, boxes: list[list[float]]) -> list[list[float]]:
    """One photograph in the middle of its cell; its boxes there."""
    with Image.open(file) as opened:
        photo = np.asarray(opened.convert("RGB"))
    height, width = canvas.shape[0] // grid, canvas.shape[1] // grid
    scale = min(height / photo.shape[0], width / photo.shape[1])
    size = (min(width, round(photo.shape[1] * scale)), min(height, round(photo.shape[0] * scale)))
    top = cell // grid * height + (height - size[1]) // 2
    left = cell % grid * width + (width - size[0]) // 2
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas[top : top + size[1], left : left + size[0]] = cv2.resize(photo, size, interpolation=method)
    return [[round(value * scale + start, 2) for value, start in zip(box, (left, top, left, top), strict=True)] for box in boxes]


if __name__ == "__main__":
    main()
