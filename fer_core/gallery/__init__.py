"""A gallery of one run: its photographs with boxes, points, expressions and probabilities, as one self-contained HTML page and one PNG.

Faces are biometric data: a gallery is written on request only, and never under a table's prefix.
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.manifest import Manifest
from fer_core.commit.publish import read_manifest
from fer_core.commit.reader import newest_run, read_images, read_labels
from fer_core.errors import StoreError
from fer_core.gallery.html_writer import write_html
from fer_core.gallery.page import build_page
from fer_core.gallery.photo import GalleryPhoto, load_photo
from fer_core.gallery.png_writer import write_png
from fer_core.outputs.registry import register_output
from fer_core.storage.output_place import refuse_in_tables
from fer_core.storage.store import open_store
from fer_core.tables.schema import LABELED, NO_FACE


@dataclass(frozen=True, slots=True)
class GallerySummary:
    """What a gallery shows."""

    run_id: str
    pictures: int
    """Cards."""
    unreadable: int
    """Cards whose photograph is gone, changed or cannot be read any more."""
    faces: int
    """Faces on the cards."""
    html: Path
    png: Path | None


def draw_gallery(root: str, html: Path, png: Path | None, limit: int, run_id: str | None = None) -> GallerySummary:
    """Draw a committed run.

    root: labels root. html, png: files to write; their folders are made. limit: most photographs to show; of more, an even sample.
    run_id: the newest run that processed any image, if None. CommitError when there is no such run or a part of it is missing; StoreError
    when a file cannot be written, UsageError when it would be in the tables of a root.
    """
    files = [str(file) for file in (html, png) if file is not None]
    for file in files:
        refuse_in_tables(file)
    store = open_store(root)
    manifest = newest_run(store) if run_id is None else read_manifest(store, run_id)
    images = read_images(store, manifest)
    chosen = _choose(images, limit)
    labels = read_labels(store, manifest, chosen["image_uri"].to_pylist())
    photos = _load_photos(chosen, labels, manifest)
    page = build_page(manifest, photos, images)
    for file in files:
        register_output(store, file, "gallery", [manifest.run_id])
    _save(html, write_html(page).encode(errors="backslashreplace"))
    if png is not None:
        _save(png, write_png(page))
    unreadable, faces = sum(bool(photo.note) for photo in photos), sum(len(photo.faces) for photo in photos)
    return GallerySummary(manifest.run_id, len(photos), unreadable, faces, html, png)


def _choose(images: pa.Table, limit: int) -> pa.Table:
    """Photographs to show: those with faces first, and where there is room those without."""
    with_faces = images.filter(pc.equal(images["status"], LABELED))
    without = images.filter(pc.equal(images["status"], NO_FACE))
    first = with_faces.take(_sample(with_faces.num_rows, limit))
    rest = without.take(_sample(without.num_rows, limit - first.num_rows))
    return pa.concat_tables([first, rest])


def _sample(count: int, limit: int) -> pa.Array:
    """At most `limit` of the numbers below `count`, evenly spaced, rising."""
    if count <= limit:
        return pa.array(range(count), pa.int64())
    return pa.array([(2 * position + 1) * count // (2 * limit) for position in range(limit)], pa.int64())


def _load_photos(images: pa.Table, labels: pa.Table, manifest: Manifest) -> list[GalleryPhoto]:
    config = manifest.run_config()
    return [load_photo(row, labels.filter(pc.equal(labels["image_uri"], row["image_uri"])), config) for row in images.to_pylist()]


def _save(file: Path, data: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    except OSError as error:
        raise StoreError(f"cannot write {file}: {error.strerror}") from error
