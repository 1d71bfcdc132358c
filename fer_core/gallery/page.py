"""The content of the gallery, computed once: the HTML page and the PNG picture write the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.manifest import Manifest
from fer_core.gallery.annotations import Annotation, annotate
from fer_core.gallery.label_placement import COLOURS
from fer_core.gallery.photo import GalleryPhoto
from fer_core.gallery.text import counted
from fer_core.labels import EXPRESSIONS
from fer_core.tables.schema import LABELED, NO_FACE

QUARANTINED_ROWS: Final = 50
BESIDE: Final = 3
"""Up to so many faces stand beside their photograph, more stand below it."""
LAW: Final = (
    "Labels name the apparent expression of a face, not what the person feels or thinks.",
    "Faces are biometric data. This page holds photographs and was written on request; protect it like the "
    "photographs themselves, and delete it when it has served its purpose. "
    "In the European Union, inferring emotions at work and in schools is banned, and other uses are high-risk (AI Act).",
)
_BESIDE_FACES, _ABOVE_FACES = (758.0, 620.0), (1130.0, 820.0)
"""Room for a photograph on the page, width and height."""
_ENLARGED: Final = 2.0
"""How much a small photograph may be enlarged."""
_STATUS_NAMES: Final = {LABELED: "labelled", NO_FACE: "no face found"}


@dataclass(frozen=True, slots=True)
class Tally:
    """A count, and its share of all as a bar."""

    name: str
    count: int
    share: float
    colour: str
    """CSS; empty for the page's own."""


@dataclass(frozen=True, slots=True)
class Card:
    """One photograph and its faces."""

    photo: GalleryPhoto
    beside: bool
    """Whether the faces stand beside the photograph, not below it."""
    scale: float
    """Pixels of the page for one of the photograph's."""
    annotations: list[Annotation]


@dataclass(frozen=True, slots=True)
class GalleryPage:
    """One run."""

    headline: str
    """`7 faces in 2 pictures`."""
    facts: dict[str, str]
    """About the run, digests shortened."""
    expressions: list[Tally]
    statuses: list[Tally]
    processed: int
    """Pictures that could be shown."""
    unchanged: int
    cards: list[Card]
    quarantined: int
    quarantined_rows: list[dict[str, Any]]
    """The first `QUARANTINED_ROWS` of them: `image_uri`, `status`, `reason`."""
    named: tuple[tuple[str | None, str], ...]
    """Digest and URI of each image that the page shows or names: those of the cards, then of the quarantined rows."""


def build_page(manifest: Manifest, photos: Sequence[GalleryPhoto], images: pa.Table) -> GalleryPage:
    """photos: those to show. images: all rows of the images table."""
    quarantined = images.filter(pc.invert(pc.is_in(images["status"], pa.array(list(_STATUS_NAMES)))))
    total = sum(manifest.statuses.values())
    digests = dict(zip(images["image_uri"].to_pylist(), images["image_sha256"].to_pylist(), strict=True))
    names = [photo.uri for photo in photos] + quarantined["image_uri"].slice(0, QUARANTINED_ROWS).to_pylist()
    return GalleryPage(
        headline=f"{counted(manifest.faces, 'face')} in {counted(total, 'picture')}",
        facts={
            "Run": manifest.run_id,
            "Committed": f"{manifest.committed_at[:16].replace('T', ' ')} UTC",
            "Source": manifest.source,
            "Purpose": manifest.purpose or "not given",
            "Detector": manifest.detector,
            "Model": f"{manifest.model_name} {manifest.model_digest[:12]}",
            "Pipeline digest": manifest.pipeline_digest[:12],
        },
        expressions=[_tally(name, manifest.expressions.get(name, 0), manifest.faces, COLOURS[name]) for name in EXPRESSIONS],
        statuses=[
            _tally(_STATUS_NAMES.get(name, name.replace("_", " ")), count, total, "" if name in _STATUS_NAMES else "var(--warn)")
            for name, count in manifest.statuses.items()
            if count or name in _STATUS_NAMES
        ],
        processed=sum(manifest.statuses.get(status, 0) for status in _STATUS_NAMES),
        unchanged=manifest.unchanged,
        cards=[_card(photo) for photo in photos],
        quarantined=quarantined.num_rows,
        quarantined_rows=quarantined.slice(0, QUARANTINED_ROWS).select(["image_uri", "status", "reason"]).to_pylist(),
        named=tuple((digests.get(uri), uri) for uri in names if uri is not None),
    )


def _tally(name: str, count: int, total: int, colour: str) -> Tally:
    return Tally(name, count, count / max(1, total), colour)


def _card(photo: GalleryPhoto) -> Card:
    beside = len(photo.faces) <= BESIDE
    if photo.note:
        return Card(photo, beside, 1.0, [])
    height, width = photo.pixels.shape[:2]
    room = _BESIDE_FACES if beside else _ABOVE_FACES
    scale = min(room[0] / width, room[1] / height, _ENLARGED)
    return Card(photo, beside, scale, annotate(photo, scale))
