"""Images whose newest answer is that they could not be processed, by reason."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_core.query.session import QuerySession, rows
from fer_core.tables.reasons import reason_kind
from fer_core.tables.schema import IMAGE_STATUSES, QUARANTINE

REASONS: Final = 12
"""Reasons that are counted one by one, the commonest."""
EXAMPLES: Final = 3
MOST_KINDS: Final = 1000
"""Different reasons of which examples are kept in memory."""

_NEWEST: Final = """\
SELECT {columns} FROM (
  SELECT *, row_number() OVER (PARTITION BY image_uri ORDER BY seen_at DESC, run_id DESC) AS age FROM images
) WHERE age = 1 {rest}"""


@dataclass(frozen=True, slots=True)
class NamedImage:
    """One image, by digest, None where it could not be read, and address."""

    sha256: str | None
    uri: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """R reasons, the commonest first."""

    reasons: tuple[str, ...]
    """`STATUS: TEXT`, without sizes and names."""
    images: NDArray[np.int64]
    """(R,)"""
    examples: tuple[tuple[NamedImage, ...], ...]
    """(R,) at most `EXAMPLES` each."""
    others: int
    """Images with further reasons."""
    statuses: Mapping[str, int]
    """All images by their newest status, `schema.IMAGE_STATUSES`."""

    @property
    def total(self) -> int:
        """Images that could not be processed."""
        return sum(self.statuses[status] for status in QUARANTINE)


def count_quarantined(session: QuerySession) -> Quarantined:
    """QueryError where a part cannot be read."""
    counts, examples = Counter[str](), dict[str, list[NamedImage]]()
    chosen = ", ".join(f"'{status}'" for status in QUARANTINE)
    columns = "image_uri, image_sha256, status, coalesce(reason, '') AS reason"
    for batch in rows(session.run(_NEWEST.format(columns=columns, rest=f"AND status IN ({chosen}) ORDER BY image_uri"))):
        for row in batch.to_pylist():
            kind = _kind(row)
            counts[kind] += 1
            some = examples.setdefault(kind, []) if len(examples) < MOST_KINDS else examples.get(kind, [])
            if len(some) < EXAMPLES:
                some.append(NamedImage(row["image_sha256"], row["image_uri"]))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ordered[:REASONS]
    return Quarantined(
        reasons=tuple(kind for kind, _ in shown),
        images=np.array([count for _, count in shown], np.int64),
        examples=tuple(tuple(examples.get(kind, ())) for kind, _ in shown),
        others=sum(count for _, count in ordered[REASONS:]),
        statuses=_statuses(session),
    )


def _kind(row: Mapping[str, Any]) -> str:
    """Without the image's address or name, which no other reason has."""
    uri = str(row["image_uri"])
    kind = reason_kind(row["status"], row["reason"], uri)
    name = uri.rpartition("/")[2]
    return row["status"] if name and name in kind else kind


def _statuses(session: QuerySession) -> dict[str, int]:
    reader = session.run(_NEWEST.format(columns="status, count(*) AS images", rest="GROUP BY status"))
    found = {row["status"]: row["images"] for row in pa.Table.from_batches(rows(reader), reader.schema).to_pylist()}
    return {status: found.get(status, 0) for status in IMAGE_STATUSES}
