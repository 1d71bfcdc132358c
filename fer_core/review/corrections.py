"""The corrections file that the page saves: JSON, one entry a face that was answered."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from fer_core.errors import ReviewError
from fer_core.review import label_studio
from fer_core.review.attach import MOST_FACES
from fer_core.review.checked import Fields, object_of, parsed
from fer_core.review.record import Correction
from fer_core.review.verdicts import VERDICTS

FORMAT: Final = "ferflow corrections"
VERSION: Final = 1
LARGEST: Final = 256 * 2**20
"""Bytes of a file that is read; Label Studio's exports carry the pictures."""
MOST: Final = 1_000_000


def read_corrections(data: bytes, name: str, reviewer: str | None = None) -> list[Correction]:
    """Every review in a corrections file or in Label Studio's export (JSON), in its order.

    name: the file's, for errors. reviewer: replaces the file's reviewer. ReviewError in one sentence that names the place: anything
    that is not as it should be makes the whole file invalid.
    """
    if len(data) > LARGEST:
        raise ReviewError(f"{name} is too large: {len(data):,} bytes, more than {LARGEST:,}")
    value = parsed(data, name, LARGEST)
    found = label_studio.read_tasks(value, name, reviewer) if isinstance(value, list) else _own(object_of(value, name), name, reviewer)
    if not found:
        raise ReviewError(f"there is no review in {name}")
    if len(found) > MOST:
        raise ReviewError(f"{name} holds {len(found):,} reviews, more than {MOST:,}")
    image, faces = Counter(image for image, _ in {(row.image_sha256, row.box) for row in found}).most_common(1)[0]
    if faces > MOST_FACES:
        raise ReviewError(f"{name} holds reviews of {faces:,} faces of the image {image[:12]}, more than {MOST_FACES:,}")
    return found


def _own(value: Mapping[str, object], name: str, reviewer: str | None) -> list[Correction]:
    if value.get("format") != FORMAT:
        raise ReviewError(f"{name} is neither a corrections file of ferflow nor Label Studio's export as JSON")
    if value.get("version") != VERSION:
        raise ReviewError(f"{name} is a corrections file of version {str(value.get('version'))[:20]}; this ferflow reads version {VERSION}")
    export_id = Fields(value, name).export_id("export_id")
    person = reviewer or Fields(value, name).text("reviewer", empty=True).strip()
    entries = value.get("corrections")
    if not isinstance(entries, list):
        raise ReviewError(f"{name} has no list 'corrections'")
    if entries and not person:
        raise ReviewError(f"{name} does not name the reviewer; give --reviewer NAME")
    found = [_correction(entry, f"correction {number} of {name}", export_id, person) for number, entry in enumerate(entries, start=1)]
    _refuse_twice(found, name)
    return found


def _correction(entry: object, where: str, export_id: str, reviewer: str) -> Correction:
    fields = Fields(object_of(entry, where), where)
    verdict = fields.text("verdict")
    if verdict not in VERDICTS:
        raise ReviewError(f"{where}: {verdict[:40]!r} is no verdict (they are {', '.join(VERDICTS)})")
    return Correction(
        image_sha256=fields.sha256("image_sha256"),
        image_uri=fields.text("image_uri"),
        box=fields.box("box"),
        verdict=verdict,
        previous_expression=fields.expression("previous_expression"),
        previous_model=fields.sha256("previous_model"),
        reviewer=reviewer,
        reviewed_at_us=fields.moment("reviewed_at"),
        export_id=export_id,
    )


def _refuse_twice(found: list[Correction], name: str) -> None:
    seen: dict[tuple[str, tuple[float, ...]], int] = {}
    for number, correction in enumerate(found, start=1):
        first = seen.setdefault((correction.image_sha256, correction.box), number)
        if first != number:
            raise ReviewError(f"correction {number} of {name} is about the same face as correction {first}")
