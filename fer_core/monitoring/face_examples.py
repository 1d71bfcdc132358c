"""Kept crops that stand for each expression: the surest labels, and the least sure ones."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from fer_core.commit.manifest import Manifest
from fer_core.commit.policy import read_policy
from fer_core.gallery.templates import data_uri
from fer_core.labels import EXPRESSIONS
from fer_core.monitoring.quarantined import NamedImage
from fer_core.query.session import QuerySession, rows
from fer_core.review.pictures import crop_key, kept_crops
from fer_core.storage.paths import is_run_id
from fer_core.storage.store import Store

SHOWN: Final = 4
"""Faces of each expression, as many sure as unsure ones."""
TRIED: Final = 4 * SHOWN
"""Labels of each kind that are looked up: of some images no crop was kept."""
_SQL: Final = """\
SELECT expression, confidence, image_uri, image_sha256, detector, face_index, rising < falling AS unsure
FROM (
  SELECT expression, confidence, image_uri, image_sha256, detector, face_index,
    row_number() OVER (PARTITION BY expression ORDER BY confidence, face_id) AS rising,
    row_number() OVER (PARTITION BY expression ORDER BY confidence DESC, face_id) AS falling
  FROM current WHERE isfinite(confidence) AND image_sha256 IN (SELECT image_sha256 FROM labels WHERE run_id IN ({runs})))
WHERE least(rising, falling) <= {count} ORDER BY expression, falling"""


@dataclass(frozen=True, slots=True)
class FaceExample:
    """One face."""

    picture: str
    """The aligned crop as a data URI."""
    confidence: float
    image: NamedImage


@dataclass(frozen=True, slots=True)
class FaceExamples:
    """By expression, in the order of `labels.EXPRESSIONS`."""

    sure: Mapping[str, Sequence[FaceExample]]
    unsure: Mapping[str, Sequence[FaceExample]]
    reason: str
    """Why there are none; empty where there are."""


def no_examples(reason: str) -> FaceExamples:
    """None."""
    return FaceExamples({}, {}, reason)


def choose_faces(store: Store, session: QuerySession, manifests: Sequence[Manifest], now: float | None = None) -> FaceExamples:
    """Where crops were kept and the root's policy allows them. CommitError, QueryError: a part is missing or damaged.

    now: seconds since the epoch, the present if None.
    """
    policy = read_policy(store)
    if policy.crops == "never":
        return no_examples("The policy of this root does not allow crops.")
    kept = [manifest for manifest in manifests if manifest.parts_of("faces") and is_run_id(manifest.run_id)]
    if not kept:
        return no_examples("No run has kept crops of faces.")
    now = time.time() if now is None else now
    names = [f"'{manifest.run_id}'" for manifest in kept if policy.may_show_crops(manifest.config["started_us"] / 1e6, now)]
    if not names:
        return no_examples("All crops are older than the policy of this root allows.")
    labels = pa.Table.from_batches(rows(reader := session.run(_SQL.format(runs=", ".join(names), count=TRIED))), reader.schema)
    crops = kept_crops(store, labels)
    found = [row for row in labels.to_pylist() if crop_key(row) in crops]
    sure = {name: [row for row in found if row["expression"] == name and not row["unsure"]][:SHOWN] for name in EXPRESSIONS}
    unsure = {name: [row for row in found if row["expression"] == name and row["unsure"]][-SHOWN:] for name in EXPRESSIONS}

    def shown(some: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[FaceExample]]:
        return {
            name: [
                FaceExample(data_uri(crops[crop_key(row)], "png"), row["confidence"], NamedImage(row["image_sha256"], row["image_uri"]))
                for row in those
            ]
            for name, those in some.items()
        }

    return FaceExamples(shown(sure), shown(unsure), "" if found else "No crop of a current label was kept.")
