"""One folder by several spellings, such as `/p//x` or through a link: it is listed as earlier runs of the root spelled it, so that its
images keep their addresses and are not labelled once more under new ones."""

import os
from collections.abc import Iterator

from fer_core.collection.inventory import local_source
from fer_core.commit.publish import committed_runs, read_manifest
from fer_core.errors import StoreError
from fer_core.storage.store import Store, open_store
from fer_core.storage.uri import scheme
from flows.label_params import LabelParams


def under_known_source(params: LabelParams) -> LabelParams:
    """The parameters with the source as earlier runs of the root spelled it; as it is where it is no folder, or new to the root."""
    known = known_spelling(open_store(params.to), params.source)
    return params if known == params.source else params.model_copy(update={"source": known})


def known_spelling(store: Store, source: str) -> str:
    """The spelling of the newest run that labelled the same local folder, absolute; the given one where a run has it, or none does.

    A relative spelling of an earlier run is read from the working folder: started elsewhere, it meant another folder.
    """
    folder = _folder(source)
    if folder is None:
        return source
    found = source
    for earlier in _earlier_sources(store):
        other = _folder(earlier)
        if earlier == source or other == folder:
            return source
        if found == source and other is not None and os.path.samefile(other, folder):
            found = earlier if earlier.startswith("/") else other
    return found


def is_same_folder(one: str, other: str) -> bool:
    """Whether two sources are one local folder."""
    first, second = _folder(one), _folder(other)
    return first is not None and second is not None and os.path.samefile(first, second)


def _folder(source: str) -> str | None:
    """The path of a local folder as it would be listed."""
    path = local_source(source) if scheme(source) == "file" else ""
    return path.rstrip("/") or "/" if os.path.isdir(path) else None


def _earlier_sources(store: Store) -> Iterator[str]:
    """Each once, the newest first by the ids of their runs."""
    seen = set[str]()
    try:
        runs = committed_runs(store)
    except StoreError:  # the check of the root says why, in terms of what was asked for
        return
    for run_id in reversed(runs):
        source = read_manifest(store, run_id).source
        if source not in seen:
            yield source
        seen.add(source)
