"""The registry of a root's outputs: `_meta/outputs/<digest of the address>.json`, one file an output.

Writers of outputs do not hold the root's lease, and an object store offers no safe replacement of one shared file. So each output has a
file of its own, written in one step: two writers never lose an entry of each other, and the same output twice is one entry.
"""

import hashlib
import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self

from fer_core.errors import AccessError, OutageError, StoreError
from fer_core.json_reader import parse_object
from fer_core.storage.paths import META, RUNS, is_run_id
from fer_core.storage.store import Store, open_store
from fer_core.storage.uri import holds_credentials, is_too_long, scheme
from fer_core.validation import check_entries

FOLDER: Final = f"{META}/outputs"
MOST_BYTES: Final = 2**24
Kind = Literal["gallery", "review", "report", "current", "faceset", "reviewed", "audit", "model"]
"""`gallery`, `report`: one file. `current`: one Parquet or CSV file. `review`: the folder of an export. `faceset`, `reviewed`: the folder
of a face set, by itself and in a folder of models. `audit`: the folder of an audit of such a set. `model`: the folder of a model that was
trained on one."""


@dataclass(frozen=True, slots=True)
class RegisteredOutput:
    """One output. What a registry says is data: `erasure` removes nothing that does not look like an output of this kind."""

    url: str
    """An absolute local path, or `s3://bucket/key`."""
    kind: Kind
    run_ids: tuple[str, ...]
    """Runs whose images it shows or names; empty: any of the root's."""
    written_at: str
    """When its writing began, ISO 8601, UTC."""
    host: str = ""
    """The machine that wrote it: whose disk a local path is on. Empty: any."""

    @property
    def path(self) -> str:
        """Where the entry lies, relative to the labels root."""
        return entry_path(self.url)

    @property
    def elsewhere(self) -> str:
        """The machine whose disk it is on, where that is another one; else empty."""
        return self.host if self.url.startswith("/") and self.host != socket.gethostname() else ""

    def to_bytes(self) -> bytes:
        """JSON."""
        return (json.dumps({"version": 1, **asdict(self)}, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; ValueError, KeyError or TypeError for anything else."""
        value: dict[str, Any] = parse_object(data, MOST_BYTES)
        if value.pop("version") != 1:
            raise ValueError("an output of another version")
        found = cls(**{**value, "run_ids": tuple(value["run_ids"])})
        check_entries(found)
        absolute = found.url.startswith("/") or scheme(found.url) != "file"
        if not absolute or "\0" in found.url or ".." in found.url.split("/") or is_too_long(found.url) or holds_credentials(found.url):
            raise ValueError("not the address of an output")
        if not all(map(is_run_id, found.run_ids)):
            raise ValueError("not the entry of an output")
        return found


def entry_path(url: str) -> str:
    """Where the entry of an output lies, relative to the labels root."""
    return f"{FOLDER}/{hashlib.sha256(url.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.json"


def register_output(store: Store, url: str, kind: Kind, run_ids: Iterable[str] = (), now: datetime | None = None) -> None:
    """Register what is about to be written from a root: before its first byte, so that nothing unregistered lies anywhere.

    url: of the file or folder, as `Kind` says; a relative local path is made absolute. now: aware, the present if None. Nothing happens
    where the root cannot be written, as with the rights of a reader, see `is_registered`. OutageError where its storage does not answer.
    """
    at = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
    place, runs = open_store(url), tuple(sorted(set(run_ids)))
    linked = [os.path.realpath(place.root)] if place.local and os.path.islink(place.root) else []  # some writers follow it
    try:
        for found in (place.url(), *linked):
            output = RegisteredOutput(found, kind, runs, at, socket.gethostname())
            store.write_bytes(output.path, output.to_bytes())
    except AccessError:  # a page for a reader of the root is no less useful
        return
    except OutageError:
        raise
    except StoreError:
        return


def register_derived(origins: Iterable[str], url: str, kind: Kind) -> None:
    """Register what is about to be made from reviewed faces. origins: the labels roots that these are from.

    Nothing happens in a root that is gone, which would begin again, or that does not answer: what was made took a person's hours.
    """
    for origin in origins:
        with suppress(StoreError):
            root = open_store(origin)
            if root.list_files(RUNS):
                register_output(root, url, kind)


def is_registered(store: Store, url: str) -> bool:
    """Whether a root knows of an output, by an entry that can be read: JSON holds no name that is no UTF-8."""
    path = entry_path(open_store(url).url())
    return store.exists(path) and _entry(store, path) is not None


def registered_outputs(store: Store) -> Iterator[tuple[str, RegisteredOutput | None]]:
    """Path of each entry and what it says, by rising path; None where an entry is damaged or lies under another output's name."""
    for path in store.list_files(FOLDER):
        if not store.exists(path):  # a stale listing
            continue
        yield path, _entry(store, path)


def _entry(store: Store, path: str) -> RegisteredOutput | None:
    try:
        output = RegisteredOutput.from_bytes(store.read_bytes(path))
    except (ValueError, KeyError, TypeError):
        return None
    return output if output.path == path else None
