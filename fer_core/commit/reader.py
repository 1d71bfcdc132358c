"""Read a committed run: the newest manifest, and rows of its parts."""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from fer_core.commit.manifest import Manifest
from fer_core.commit.part_reader import read_part
from fer_core.commit.publish import committed_runs, read_manifest
from fer_core.errors import CommitError
from fer_core.storage.store import REQUESTS_AT_ONCE, Store
from fer_core.tables.schema import IMAGES, LABELS


def committed_manifests(store: Store) -> list[Manifest]:
    """Those of all committed runs. CommitError without any run, or where a manifest is damaged."""
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        manifests = list(pool.map(lambda run_id: read_manifest(store, run_id), committed_runs(store)))
    if not manifests:
        raise CommitError(f"no run has been committed under {store.url()} yet")
    return manifests


def purposes_of(store: Store, run_ids: Collection[str] | None = None) -> tuple[str, ...]:
    """What committed runs are for, as far as they say so: each purpose once, in alphabetical order. run_ids: all runs, if None."""
    known = committed_runs(store)
    manifests = (read_manifest(store, run_id) for run_id in known if run_ids is None or run_id in run_ids)
    return tuple(sorted({manifest.purpose for manifest in manifests} - {""}))


def newest_run(store: Store) -> Manifest:
    """The last committed run that processed an image; if there is none, the last committed run. CommitError without any run."""
    return max(
        committed_manifests(store), key=lambda manifest: (sum(manifest.statuses.values()) > 0, manifest.committed_at, manifest.run_id)
    )


def read_images(store: Store, manifest: Manifest) -> pa.Table:
    """The run's rows of the images table, `schema.IMAGES`, sorted by URI. CommitError if a part is missing or damaged."""
    parts = [read_part(store, part, IMAGES, manifest.run_id) for part in manifest.parts_of("images")]
    return pa.concat_tables([IMAGES.empty_table(), *parts]).sort_by("image_uri")


def read_labels(store: Store, manifest: Manifest, uris: Sequence[str]) -> pa.Table:
    """Rows of the labels table for some images, `schema.LABELS`, sorted by URI and face index. Holds one part in memory at a time."""
    wanted = pa.array(sorted(set(uris)), pa.string())
    parts = [read_part(store, part, LABELS, manifest.run_id, wanted) for part in manifest.parts_of("labels")]
    return pa.concat_tables([LABELS.empty_table(), *parts]).sort_by([("image_uri", "ascending"), ("face_index", "ascending")])
