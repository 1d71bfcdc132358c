"""One committed run read back: which run, and the rows of its parts that a reader asks for."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit import committed_runs, read_manifest
from fer_core.errors import CommitError
from fer_core.manifest import Manifest
from fer_core.part_table import read_part
from fer_core.schema import IMAGES, LABELS, SCHEMAS
from fer_core.store import Store


def newest_run(store: Store) -> Manifest:
    """The run committed last that looked at any image; where none did, the one committed last. CommitError when there is none at all."""
    manifests = [read_manifest(store, run_id) for run_id in committed_runs(store)]
    if not manifests:
        raise CommitError(f"no run has been committed under {store.url()} yet")
    return max(manifests, key=lambda manifest: (sum(manifest.statuses.values()) > 0, manifest.committed_at, manifest.run_id))


def read_images(store: Store, manifest: Manifest) -> pa.Table:
    """The run's rows of the images table, `schema.IMAGES`, sorted by URI. CommitError when a part is missing or damaged."""
    parts = [_read_part(store, manifest, part.path, "images", None) for part in manifest.parts_of("images")]
    return pa.concat_tables([IMAGES.empty_table(), *parts]).sort_by("image_uri")


def read_labels(store: Store, manifest: Manifest, uris: Sequence[str]) -> pa.Table:
    """The run's rows of the labels table for some images, `schema.LABELS`, sorted by URI and face index. Holds one part at a time."""
    wanted = pa.array(sorted(set(uris)), pa.string())
    parts = [_read_part(store, manifest, part.path, "labels", wanted) for part in manifest.parts_of("labels")]
    return pa.concat_tables([LABELS.empty_table(), *parts]).sort_by([("image_uri", "ascending"), ("face_index", "ascending")])


def _read_part(store: Store, manifest: Manifest, path: str, table: str, uris: pa.Array | None) -> pa.Table:
    """One part in its schema, without file metadata; only the rows of `uris` unless it is None."""
    rows = read_part(store, path, SCHEMAS[table], manifest.run_id)
    return rows if uris is None else rows.filter(pc.is_in(rows["image_uri"], value_set=uris))
