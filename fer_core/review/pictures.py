"""Pictures of faces: out of the photographs, or, where those are gone, the crops that a run kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fer_core.commit.publish import committed_runs, read_manifest
from fer_core.decode.crop_image import check_crop
from fer_core.decode.decoder import DecodeLimits
from fer_core.errors import CommitError, ImageError, StoreError
from fer_core.gallery.photo import read_labelled
from fer_core.gallery.templates import data_uri
from fer_core.run.configuration import MOST_PIXELS
from fer_core.storage.store import Store
from fer_core.storage.uri import as_store_error, split
from fer_core.tables.unpacked_size import CROP_BYTES, check_group

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData

LIMITS: Final = DecodeLimits(max_bytes=2**30, max_pixels=MOST_PIXELS)
"""Above those of runs: what is shown has the digest of an image that a run has decoded."""
SURROUNDINGS: Final = 0.45
"""Of the box's longer side, shown on each side of it: expressions show in heads, not only in boxes."""
SIDE: Final = 448
"""Longest side of a picture that is shown, pixels."""
QUALITY: Final = 88

_CROPS: Final = ["image_sha256", "detector", "face_index", "crop_png"]

Key = tuple[str, str, int]
"""What names a kept crop whatever became of its label: image digest, detector, face index."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A face with its surroundings."""

    picture: str
    """Data URI."""
    frame: tuple[float, float, float, float]
    """The box in it: x, y, width, height in parts of the picture."""


def photograph(row: Mapping[str, Any]) -> NDArray[np.uint8] | None:
    """(H, W, 3) RGB, upright, of the photograph that a label is about; None where it is gone, changed or cannot be read."""
    try:
        return read_labelled(row, LIMITS).pixels
    except (ImageError, StoreError):
        return None


def cut(pixels: NDArray[np.uint8], box: tuple[float, float, float, float]) -> Cut:
    """(H, W, 3) RGB and x, y, width, height -> the box with its surroundings, as far as the photograph reaches."""
    x, y, width, height = box
    rows, columns = pixels.shape[:2]
    reach = max(width, height) * (0.5 + SURROUNDINGS)
    middle_x, middle_y = x + width / 2, y + height / 2
    x0, y0 = int(np.clip(middle_x - reach, 0, columns - 1)), int(np.clip(middle_y - reach, 0, rows - 1))
    x1, y1 = int(np.clip(np.ceil(middle_x + reach), x0 + 1, columns)), int(np.clip(np.ceil(middle_y + reach), y0 + 1, rows))
    part = pixels[y0:y1, x0:x1]
    scale = SIDE / max(part.shape[:2])
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    shown = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(shown, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise StoreError("a face could not be encoded as JPEG")
    left, top = (x - x0) / (x1 - x0), (y - y0) / (y1 - y0)
    return Cut(data_uri(data.tobytes(), "jpeg"), (left, top, width / (x1 - x0), height / (y1 - y0)))


def crop_key(row: Mapping[str, Any]) -> Key:
    """Of a row of `schema.LABELS` or `schema.FACES`."""
    return str(row["image_sha256"]), str(row["detector"]), int(row["face_index"])


def kept_crops(store: Store, labels: pa.Table) -> dict[Key, bytes]:
    """The aligned faces (PNG) that any committed run kept of these labels. labels: rows of `schema.LABELS`.

    Of a part only the row groups that may hold one of the images are read. CommitError when a part is missing or damaged.
    """
    missing = {
        crop_key(row): str(row["image_uri"]) for row in labels.select(["image_sha256", "detector", "face_index", "image_uri"]).to_pylist()
    }
    found: dict[Key, bytes] = {}
    for run_id in reversed(committed_runs(store)):
        for part in read_manifest(store, run_id).parts_of("faces"):
            if missing:
                for key, crop in _crops_in(store, part.path, missing).items():
                    found[key] = crop
                    del missing[key]
    return found


def _crops_in(store: Store, path: str, missing: Mapping[Key, str]) -> dict[Key, bytes]:
    import pyarrow.parquet as pq

    fs, full = split(store.url(path))
    found: dict[Key, bytes] = {}
    uris = sorted(set(missing.values()))
    digests = pa.array(sorted({digest for digest, _, _ in missing}), pa.string())
    try:
        with as_store_error("read", store.url(path)), fs.open(full, "rb") as stream, pq.ParquetFile(stream) as opened:
            for number in range(opened.num_row_groups):
                if _may_hold(opened.metadata, number, uris):
                    check_group(opened.metadata.row_group(number), _CROPS, {"crop_png": CROP_BYTES})
                    rows = opened.read_row_group(number, _CROPS)
                    for row in rows.filter(pc.is_in(rows["image_sha256"], value_set=digests)).to_pylist():
                        if crop_key(row) in missing and _is_crop(row["crop_png"]):
                            found[crop_key(row)] = row["crop_png"]
    except (pa.ArrowException, ValueError, KeyError, StopIteration) as error:
        raise CommitError(f"a part of a committed run is damaged: {path} ({' '.join(str(error).split())[:200]})") from error
    return found


def _is_crop(data: bytes | None) -> bool:
    """Whether it may go onto a page, or into a face set."""
    try:
        check_crop(data)
    except ImageError:
        return False
    return True


def _may_hold(metadata: "FileMetaData", number: int, uris: list[str]) -> bool:
    """Whether a row group may have rows of one of the URIs."""
    group = metadata.row_group(number)
    column = next(group.column(at) for at in range(group.num_columns) if group.column(at).path_in_schema == "image_uri")
    statistics = column.statistics
    if statistics is None or not statistics.has_min_max:
        return True
    return any(statistics.min <= uri <= statistics.max for uri in uris)
