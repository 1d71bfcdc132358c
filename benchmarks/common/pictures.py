"""Collections to measure on: photographs repeated, and pictures composed of the faces in the package's own demonstration pictures.

Every file is a JPEG with a digest of its own. What is composed depends on nothing but its numbers.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_core.detect.registry import build
from flows.cli.demo import demo_pictures

PICTURES = {".jpg", ".jpeg", ".png"}
SHAPE = 4 / 3
"""Width over height of what is composed."""
FACES = (0, 1, 2, 1, 3, 1, 6, 1, 0, 2)
"""Faces in the pictures of `varied`, in turn: 1.7 in the mean."""
ROOM = 0.3
"""Of a face's longer side that is cut around it."""


def repeated(photos: Path, folder: Path, count: int, megapixels: float = 0.5) -> Path:
    """`count` JPEG files: all photographs under a folder as often as it takes, each copy with another quality and comment."""
    files = sorted(file for file in photos.rglob("*") if file.suffix.lower() in PICTURES)
    if not files:
        raise SystemExit(f"no pictures under {photos}")
    folder.mkdir(parents=True)
    for index, file in enumerate(files[:count]):
        with Image.open(file) as opened:
            picture = resized(opened.convert("RGB"), megapixels)
        for number in range(index, count, len(files)):
            picture.save(folder / f"photo-{number:06d}.jpg", quality=85 + number // len(files) % 10, comment=f"{number}")
    return folder


def varied(folder: Path, count: int, megapixels: float = 0.5) -> Path:
    """`count` composed pictures whose numbers of faces vary as `FACES` does."""
    return _written(folder, [FACES[number % len(FACES)] for number in range(count)], megapixels)


def composed(folder: Path, count: int, faces: int, megapixels: float = 0.5) -> Path:
    """`count` composed pictures with so many faces each."""
    return _written(folder, [faces] * count, megapixels)


def resized(picture: Image.Image, megapixels: float) -> Image.Image:
    scale = (megapixels * 1e6 / (picture.width * picture.height)) ** 0.5
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS)


def demo_faces() -> list[NDArray[np.uint8]]:
    """The faces of the demonstration pictures with some of what is around them, (H, W, 3) RGB."""
    with TemporaryDirectory() as place:
        return list(_cut(demo_pictures(Path(place))))


def _cut(files: Sequence[Path]) -> Iterator[NDArray[np.uint8]]:
    detector = build("builtin")
    for file in files:
        pixels = np.asarray(Image.open(file).convert("RGB"))
        for x0, y0, x1, y1 in detector.detect(pixels).boxes:
            room = ROOM * max(x1 - x0, y1 - y0)
            top, left = max(0, round(y0 - room)), max(0, round(x0 - room))
            yield pixels[top : round(y1 + room), left : round(x1 + room)]


def _written(folder: Path, numbers: Sequence[int], megapixels: float) -> Path:
    """A dozen different pictures for each number of faces, their copies told apart by quality and comment."""
    folder.mkdir(parents=True)
    faces, made = demo_faces(), dict[tuple[int, int], Image.Image]()
    for number, count in enumerate(numbers):
        key = count, number % 12
        if key not in made:
            made[key] = Image.fromarray(mosaic(faces, count, megapixels, seed=number))
        made[key].save(folder / f"picture-{number:06d}.jpg", quality=85 + number // 12 % 10, comment=f"{number}")
    return folder


def mosaic(faces: Sequence[NDArray[np.uint8]], count: int, megapixels: float, seed: int) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: clouds, and on them so many faces, each in a cell of its own, none enlarged by more than it takes to be found."""
    drawn = np.random.default_rng(seed)
    height = round((megapixels * 1e6 / SHAPE) ** 0.5)
    width = round(height * SHAPE)
    picture = clouds(height, width, drawn)
    columns = int(np.ceil((count * SHAPE) ** 0.5)) if count else 1
    rows = int(np.ceil(count / columns))
    for place in range(count):
        face = faces[int(drawn.integers(len(faces)))]
        cell = min(width // columns, height // max(rows, 2 if count > 1 else 1))
        scale = float(drawn.uniform(0.7, 0.95)) * cell / max(face.shape[:2])
        size = max(1, round(face.shape[1] * scale)), max(1, round(face.shape[0] * scale))
        pasted = cv2.resize(face, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        x = place % columns * (width // columns) + int(drawn.integers(width // columns - size[0] + 1))
        y = place // columns * (height // rows) + int(drawn.integers(height // rows - size[1] + 1))
        picture[y : y + size[1], x : x + size[0]] = pasted
    return picture


def clouds(height: int, width: int, drawn: np.random.Generator) -> NDArray[np.uint8]:
    """(H, W, 3) noise of every scale, the coarser the stronger, as in photographs: as dear to decode as they are, and without a face."""
    total = np.zeros((height, width, 3), np.float32)
    for level in range(2, 10):
        small = drawn.normal(0, 90 / 2 ** (level - 2), (min(height, 2**level), min(width, 2**level), 3)).astype(np.float32)
        total += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(total + 120, 0, 255).astype(np.uint8)
