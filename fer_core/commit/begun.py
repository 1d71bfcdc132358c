"""The published paths of every commit of a run that was begun. They are written down because a listing may be stale."""

import json

from fer_core.commit.manifest import Manifest
from fer_core.errors import CommitError
from fer_core.json_reader import parse_json
from fer_core.storage.paths import begun_file
from fer_core.storage.store import Store


def read_begun(store: Store, run_id: str) -> set[str]:
    """Paths that earlier, interrupted commits of the run may have published."""
    file = begun_file(run_id)
    if not store.exists(file):
        return set()
    try:
        found = parse_json(store.read_bytes(file))
    except ValueError as error:
        raise CommitError(f"what commits have begun cannot be read: {file}") from error
    if not isinstance(found, list) or not all(isinstance(path, str) and ".." not in path.split("/") for path in found):
        raise CommitError(f"what commits have begun cannot be read: {file}")
    return set(found)


def note_begun(store: Store, manifest: Manifest, earlier: set[str]) -> None:
    """Record the paths of this commit and of earlier ones, before the first part is moved."""
    paths = sorted({*earlier, *(part.path for part in manifest.parts)})
    store.write_bytes(begun_file(manifest.run_id), json.dumps(paths).encode())
