"""What the files of a part are called."""

import re
from dataclasses import dataclass, replace
from typing import Final, Self

_PART: Final = re.compile(r"part-(\d{5}|[1-9]\d{5,8})((?:-[0-9a-f]+)*)", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class PartName:
    """What the files of a part are called in every table: `part-00012`. In order, a shard comes before its pieces."""

    number: int
    """Of the shard, or of the group of shards whose parts were merged."""
    pieces: tuple[str, ...] = ()
    """What follows the number: 1, 0 for the first half of the second half of a shard; a digest where parts were merged."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `str`; ValueError for anything else."""
        found = _PART.fullmatch(text)
        if found is None:
            raise ValueError(f"not the name of a part: {text[:80]}")
        return cls(int(found[1]), tuple(found[2].split("-")[1:]))

    @classmethod
    def of_file(cls, name: str) -> Self:
        """The inverse of `file`; ValueError for anything else."""
        stem, _, suffix = name.rpartition(".")
        if suffix != "parquet":
            raise ValueError(f"not the file name of a part: {name[:80]}")
        return cls.parse(stem)

    @property
    def file(self) -> str:
        """`part-00012.parquet`."""
        return f"{self}.parquet"

    @property
    def ancestors(self) -> "tuple[Self, ...]":
        """The parts that this one is a piece of, the shard's first: `part-00003`, `part-00003-1` of `part-00003-1-0`."""
        return tuple(replace(self, pieces=self.pieces[:length]) for length in range(len(self.pieces)))

    def half(self, number: int) -> Self:
        """0 and 1 are the halves of a bisected part."""
        return replace(self, pieces=(*self.pieces, str(number)))

    def __str__(self) -> str:
        return "-".join((f"part-{self.number:05d}", *self.pieces))
