"""Pictures for benchmarks/gpu/compare.py, made with OpenCV alone: clouds with real faces on them.

The faces come from photographs under a folder, else from the pictures that scikit-image and insightface bring along, else from the
picture of the review page in docs/.
"""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.detect.builtin.detector import BuiltinDetector

Pixels = NDArray[np.uint8]

PACKAGED = (("skimage", "data/astronaut.png"), ("insightface", "data/images/t1.jpg"))
SHIPPED = Path(__file__).resolve().parents[2] / "docs" / "images" / "review.png"
PHOTOGRAPHS = {".jpg", ".jpeg", ".png"}
ROOM = 0.3
"""Of a face's longer side that is cut around it."""
SMALLEST, LARGEST = 48, 420
"""Pixels of the longer side of what is cut."""


def source_files(photos: Path | None) -> list[Path]:
    """Where the faces come from."""
    if photos is not None:
        return sorted(file for file in photos.rglob("*") if file.suffix.lower() in PHOTOGRAPHS)[:50]
    found = []
    for package, path in PACKAGED:
        spec = find_spec(package)
        file = Path(spec.origin).parent / path if spec and spec.origin else None
        if file is not None and file.is_file():
            found.append(file)
    return found or [SHIPPED]


def faces_of(files: Sequence[Path]) -> list[Pixels]:
    """(H, W, 3) RGB each, with some of what is around them."""
    detector, found = BuiltinDetector(), []
    for file in files:
        read = cv2.imread(str(file))
        if read is None:
            continue
        pixels = np.ascontiguousarray(read[..., ::-1])
        for x0, y0, x1, y1 in detector.detect(pixels).boxes:
            room = ROOM * max(x1 - x0, y1 - y0)
            top, left = max(0, round(y0 - room)), max(0, round(x0 - room))
            cut = pixels[top : round(y1 + room), left : round(x1 + room)]
            if max(cut.shape[:2]) >= SMALLEST:
                found.append(cut)
    if not found:
        raise SystemExit("no face in the pictures that faces were to be taken from: name a folder with --photos")
    return found


def mosaic(faces: Sequence[Pixels], count: int, height: int, width: int, seed: int) -> Pixels:
    """(height, width, 3) RGB with so many faces, each in a cell of its own."""
    drawn = np.random.default_rng(seed)
    picture = clouds(height, width, drawn)
    columns = max(1, int(np.ceil((count * width / height) ** 0.5)))
    rows = max(1, -(-count // columns))
    for place in range(count):
        face = faces[int(drawn.integers(len(faces)))]
        cell = min(width // columns, height // rows, LARGEST)
        scale = float(drawn.uniform(0.7, 0.95)) * cell / max(face.shape[:2])
        size = max(1, round(face.shape[1] * scale)), max(1, round(face.shape[0] * scale))
        pasted = cv2.resize(face, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        x = place % columns * (width // columns) + int(drawn.integers(width // columns - size[0] + 1))
        y = place // columns * (height // rows) + int(drawn.integers(height // rows - size[1] + 1))
        picture[y : y + size[1], x : x + size[0]] = pasted
    return picture


def clouds(height: int, width: int, drawn: np.random.Generator) -> Pixels:
    """(height, width, 3) noise of every scale, the coarser the stronger, as in photographs."""
    total = np.zeros((height, width, 3), np.float32)
    for level in range(2, 10):
        small = drawn.normal(0, 90 / 2 ** (level - 2), (min(height, 2**level), min(width, 2**level), 3)).astype(np.float32)
        total += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(total + 120, 0, 255).astype(np.uint8)


def written(folder: Path, pictures: Sequence[Pixels], count: int) -> list[Path]:
    """`count` JPEG files of the pictures in turn, each with a quality of its own among its copies."""
    folder.mkdir(parents=True, exist_ok=True)
    return list(_written(folder, pictures, count))


def _written(folder: Path, pictures: Sequence[Pixels], count: int) -> Iterator[Path]:
    for number in range(count):
        turn, index = divmod(number, len(pictures))
        done, data = cv2.imencode(".jpg", pictures[index][..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80 + turn % 15])
        assert done
        file = folder / f"picture-{number:06d}.jpg"
        file.write_bytes(data.tobytes())
        yield file
