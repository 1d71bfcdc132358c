"""What a worker reports of a finished shard. Plain values, JSON both ways."""

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

from fer_core.run.part_name import PartName
from fer_core.validation import check_entries

_SHA256: Final = re.compile("[0-9a-f]{64}")
_TABLES: Final = ("faces", "labels", "images")


@dataclass(frozen=True, slots=True)
class PartReceipt:
    """One Parquet file in staging."""

    table: str
    """`labels`, `images` or `faces`."""
    name: PartName
    rows: int
    size: int
    """Bytes."""
    sha256: str

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """A part that a shard may have left; TypeError or ValueError for anything else. Its name and digest become those of files."""
        part = cls(**{**value, "name": PartName.of_file(str(value.get("name")))})
        check_entries(part)
        if part.table not in _TABLES or min(part.rows, part.size) < 0 or not _SHA256.fullmatch(part.sha256):
            raise ValueError(f"no part of a run: {part.name}")
        return part

    def to_json(self) -> dict[str, Any]:
        """A JSON object of the fields, of the name that of the file."""
        return {**asdict(self), "name": self.name.file}


@dataclass(frozen=True, slots=True)
class ShardReceipt:
    """Result of a worker: the staged parts and counts."""

    part: PartName
    parts: tuple[PartReceipt, ...]
    statuses: dict[str, int]
    """Images by status."""
    expressions: dict[str, int]
    """Faces by expression."""
    faces: int
    seconds: dict[str, float]
    """Busy seconds by stage: read, decode, detect, align, predict, write, load (models, first shard of a process only)."""
    reused: int = 0
    """Images whose content is the same as in an earlier run, or as that of another image of the shard, whose results were reused."""
    failed_again: int = 0
    """Quarantined images whose result before was quarantined, too."""
    reasons: dict[str, int] = field(default_factory=dict)
    """The commonest reasons of quarantined images, see `tables.reasons`."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return {**asdict(self), "part": str(self.part), "parts": [part.to_json() for part in self.parts]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The inverse of `to_json`; TypeError, ValueError or KeyError for anything else."""
        parts = tuple(PartReceipt.from_json(part) for part in value["parts"])
        receipt = cls(**{**value, "part": PartName.parse(value["part"]), "parts": parts})
        check_entries(receipt)
        return receipt
