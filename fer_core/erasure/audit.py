"""Audit records: when, by whom and why something was forgotten, and how many rows of which tables. No name and no digest in clear."""

import getpass
import json
import os
import secrets
import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Self

from fer_core.erasure.places import Place
from fer_core.storage.paths import META
from fer_core.storage.store import Store
from fer_core.validation import check_entries

FOLDER: Final = f"{META}/forgotten"


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One removal: `_meta/forgotten/<id>.json`."""

    id: str
    at: str
    """ISO 8601, UTC."""
    by: str
    """The user of the operating system, and the machine."""
    reason: str
    """In the user's words."""
    asked: dict[str, int]
    """How many addresses, contents and faces were named: `image`, `sha256`, `face`; empty of a removal from outputs."""
    rows: dict[str, int]
    """Rows that were removed, by table or kind of file, see `Place.kind`. Of an image with a denied face, only the face's rows count."""
    runs: int
    """Runs whose files named what was removed."""
    lifted: dict[str, int] = field(default_factory=dict)
    """Of an undoing: entries that were removed from the deny list: `image`, `sha256`, `face`. `rows` is empty then."""
    delta: dict[str, str] = field(default_factory=dict)
    """What became of each registered Delta table: its version, or why it does not say yet what its parts are."""

    @property
    def path(self) -> str:
        """Where it lies, relative to the labels root."""
        return f"{FOLDER}/{self.id}.json"

    @classmethod
    def new(cls, by: str, reason: str, asked: Mapping[str, int], found: Iterable[Place], now: datetime | None = None) -> Self:
        """The record of a removal that begins. found: what it will remove. now: aware, the present if None."""
        at = (now or datetime.now(UTC)).astimezone(UTC)
        rows, runs = Counter[str](), set[str]()
        for place in found:
            rows[place.kind] += place.rows
            runs |= {place.run_id} - {""}
        number = f"forget-{at:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        return cls(number, at.isoformat(timespec="seconds"), by, reason, dict(asked), dict(sorted(rows.items())), len(runs))

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; TypeError or ValueError for anything else."""
        record = cls(**value)
        check_entries(record)
        if not record.id.replace("-", "").isalnum():  # which stands in a path
            raise ValueError("not the id of a removal")
        return record

    def write(self, store: Store) -> None:
        """Keep it. The same record twice is one file."""
        store.write_bytes(self.path, (json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n").encode())


def current_user() -> str:
    """Who runs this process, for an audit record: the name of the system's user, and of the machine."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"
