"""Rows of a run without those that a deny list names. Pure; the same rows are removed however far an earlier removal came."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.deny_list import BOX, DenyList
from fer_core.commit.manifest import Manifest
from fer_core.tables.schema import LABELED, LABELS, NO_FACE

FACE_KEYS: Final = pa.schema([LABELS.field(name) for name in ("image_uri", "image_sha256", "face_index", *BOX)])
"""Columns of `labels` that say which faces are denied."""
IDENTITY: Final = pa.schema([LABELS.field(name) for name in ("image_uri", "image_sha256")])
"""Columns of every table that say which images are."""


class RowFilter:
    """What remains of the rows of one run.

    Rows of denied images go from every table. A denied face goes from `labels` and `faces`, and its image counts one face fewer; other
    faces keep their index and id. `faces` has no boxes: there a face remains whose label does.
    """

    def __init__(self, deny: DenyList, labels: Iterable[pa.Table]) -> None:
        """labels: the run's labels, `FACE_KEYS`, all those of the images whose rows will be filtered."""
        self._deny = deny
        self._remaining: set[tuple[str, int]] = set()
        for rows in labels if deny.faces else ():
            of_images = rows.filter(deny.has_denied_faces(rows))
            kept = of_images.filter(pc.invert(deny.denied_faces(of_images)))
            self._remaining |= set(zip(kept["image_uri"].to_pylist(), kept["face_index"].to_pylist(), strict=True))
        self._counts = Counter(uri for uri, _ in self._remaining)

    def kept(self, table: str, rows: pa.Table) -> pa.Table:
        """The rows that remain, in their order. rows: of one table of the run, in its schema."""
        rows = rows.filter(pc.invert(self._deny.denies(rows)))
        with_faces = self._deny.has_denied_faces(rows)
        if not pc.any(with_faces, min_count=0).as_py():
            return rows
        return self._images(rows, with_faces) if table == "images" else self._faces(rows, with_faces)

    def counted(self, manifest: Manifest, images: int, faces: int) -> Manifest:
        """Those rows are forgotten. images, faces: how many were removed."""
        return replace(manifest, forgotten=manifest.forgotten + images, forgotten_faces=manifest.forgotten_faces + faces)

    def _faces(self, rows: pa.Table, with_faces: pa.Array) -> pa.Table:
        keys = zip(with_faces.to_pylist(), rows["image_uri"].to_pylist(), rows["face_index"].to_pylist(), strict=True)
        return rows.filter(pa.array([not asked or (uri, index) in self._remaining for asked, uri, index in keys], pa.bool_()))

    def _images(self, rows: pa.Table, with_faces: pa.Array) -> pa.Table:
        """An image without a face left has no face."""
        asked = pc.and_(with_faces, pc.fill_null(pc.equal(rows["status"], LABELED), False))
        left = pa.array([self._counts[uri] for uri in rows["image_uri"].to_pylist()], pa.int32())
        faces = pc.if_else(asked, left, rows["n_faces"])
        status = pc.if_else(pc.and_(asked, pc.equal(left, 0)), NO_FACE, rows["status"])
        for name, column in (("n_faces", faces), ("status", status)):
            number = rows.schema.get_field_index(name)
            rows = rows.set_column(number, rows.schema.field(number), column)
        return rows


def touches(deny: DenyList, rows: pa.Table) -> pa.Array:
    """For each row whether its image, or a face of it, is denied. rows: `IDENTITY`."""
    return pc.or_(deny.denies(rows), deny.has_denied_faces(rows))
