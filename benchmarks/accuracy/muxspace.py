"""muxspace's loose face crops -> a folder set whose splits keep identities apart, or a set in RAF-DB's layout made of aligned crops.

python -m benchmarks.accuracy.muxspace MUXSPACE --to FOLDER             then: ferflow dataset import folder FOLDER --to FACESET
python -m benchmarks.accuracy.muxspace MUXSPACE --rafdb --to FOLDER     then: ferflow dataset import rafdb FOLDER --to FACESET
python -m benchmarks.accuracy.muxspace MUXSPACE --more MUXSPACE_MORE --to FOLDER     then: ferflow dataset import folder FOLDER --to FACESET

The third takes the pictures of MUXSPACE_MORE for training and leaves out every identity that is `test` in MUXSPACE.

A quarter of the identities, chosen by digest, is `test`, the rest `train`. Pictures are shrunk to 192 px, which is more than the faces in
them hold. RAF-DB's own pictures are aligned and 100x100: here the middle of each crop is, seven expressions, contempt left out.
"""

import argparse
import csv
import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.faceset.importers.folder import IDENTITIES
from fer_core.labels import RAFDB_CODES

SIDE = 192
RAFDB_SIDE = 100
MIDDLE = 0.72
"""Part of a loose crop's side that RAF-DB's framing shows."""
TEST_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Photo:
    """One labelled picture."""

    name: str
    split: str
    expression: str
    identity: str
    pixels: NDArray[np.uint8]
    """(H, W, 3) BGR."""


def photos(source: Path) -> Iterator[Photo]:
    """Every picture that the table names and the archive holds."""
    with zipfile.ZipFile(source / "images.zip") as archive, (source / "labels.csv").open(newline="", encoding="utf-8") as table:
        members = {Path(member).name: member for member in archive.namelist()}
        for row in csv.DictReader(table):
            if row["image"] in members:
                drawn = int(hashlib.sha256(row["identity"].encode()).hexdigest()[:8], 16) < TEST_SHARE * 2**32
                data = np.frombuffer(archive.read(members[row["image"]]), np.uint8)
                pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
                yield Photo(row["image"], "test" if drawn else "train", row["expression"], row["identity"], pixels)


def write_folder(source: Path, to: Path) -> int:
    """`<split>/<expression>/<file>` and identities.csv; returns the number of pictures."""
    rows = []
    for photo in photos(source):
        file = to / photo.split / photo.expression / (Path(photo.name).stem + ".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), _shrunk(photo.pixels, SIDE))
        rows.append((file.relative_to(to).as_posix(), photo.identity))
    with (to / IDENTITIES).open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("file", "identity"), *rows])
    return len(rows)


def write_more(source: Path, more: Path, to: Path) -> tuple[int, int]:
    """`train/<expression>/<file>` and identities.csv of `more`, without the people that `source` tests on -> pictures written, left out."""
    tested = {photo.identity for photo in photos(source) if photo.split == "test"}
    rows, left_out = [], 0
    for photo in photos(more):
        if photo.identity in tested:
            left_out += 1
            continue
        if not photo.expression:  # a few rows have none
            continue
        file = to / "train" / photo.expression / (Path(photo.name).stem + ".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), _shrunk(photo.pixels, SIDE))
        rows.append((file.relative_to(to).as_posix(), photo.identity))
    if tested & {identity for _, identity in rows}:
        raise AssertionError("an identity is both in test and in train")
    with (to / IDENTITIES).open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("file", "identity"), *rows])
    return len(rows), left_out


def write_rafdb(source: Path, to: Path) -> int:
    """EmoLabel/list_patition_label.txt and Image/aligned/; returns the number of pictures."""
    codes = {name: code for code, name in RAFDB_CODES.items()}
    (to / "EmoLabel").mkdir(parents=True, exist_ok=True)
    (to / "Image" / "aligned").mkdir(parents=True, exist_ok=True)
    lines = []
    for number, photo in enumerate(photos(source), 1):
        if photo.expression in codes:
            name = f"{photo.split}_{number:05d}"
            cv2.imwrite(str(to / "Image" / "aligned" / f"{name}_aligned.jpg"), _shrunk(_middle(photo.pixels), RAFDB_SIDE))
            lines.append(f"{name}.jpg {codes[photo.expression]}\n")
    (to / "EmoLabel" / "list_patition_label.txt").write_text("".join(lines), encoding="utf-8")
    return len(lines)


def _shrunk(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    factor = min(1.0, side / max(pixels.shape[:2]))
    size = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _middle(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    side = round(MIDDLE * min(height, width))
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with images.zip and labels.csv")
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--rafdb", action="store_true")
    parser.add_argument("--more", type=Path, help="folder with images.zip and labels.csv of further pictures")
    args = parser.parse_args()
    if args.more:
        print(
            "{} pictures in {}, {} of tested people left out".format(
                *(found := write_more(args.source, args.more, args.to))[:1], args.to, found[1]
            )
        )
        return
    count = write_rafdb(args.source, args.to) if args.rafdb else write_folder(args.source, args.to)
    print(f"{count} pictures in {args.to}")


if __name__ == "__main__":
    main()
