"""Face sets to disk, a row group at a time."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

from fer_core.errors import FaceSetError
from fer_core.faceset.card import FaceSetCard
from fer_core.faceset.schema import SCHEMA, SPLITS, VOTE_COLUMNS, Row, split_file
from fer_core.hashing import file_sha256
from fer_core.labels import EXPRESSIONS

GROUP_ROWS: Final = 2000
GROUP_BYTES: Final = 32 * 2**20
"""A row group ends at either: original photographs are a hundred times as large as crops, and readers hold a group in memory."""


class FaceSetWriter:
    """Writes faces as they come, each into its split's file. To be used in a `with` statement; the card is not written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, _SplitFile] = {}

    def __enter__(self) -> Self:
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for file in self._files.values():
            file.abandon()

    def add(self, row: Row) -> None:
        """Add one face to the file of its `split`."""
        split = row["split"]
        if split not in self._files:
            self._files[split] = _SplitFile(self._folder, split)
        self._files[split].add(row)

    def finish(self, card: FaceSetCard) -> FaceSetCard:
        """Close the files; returns the card with counts, classes and digests. Single labels: the classes that occur."""
        present = {split: self._files[split] for split in SPLITS if split in self._files}
        for file in present.values():
            file.finish()
        occur = {name for file in present.values() for name in file.tally}
        classes = EXPRESSIONS if card.kind == "votes" else tuple(name for name in EXPRESSIONS if name in occur)
        return replace(
            card,
            classes=classes,
            counts={split: file.count for split, file in present.items()},
            per_class={split: {name: file.tally[name] for name in classes} for split, file in present.items()},
            digests={split: file_sha256(split_file(self._folder, split)) for split in present},
        )


def write_split(folder: Path, split: str, rows: Iterable[Row], group_bytes: int = GROUP_BYTES) -> int:
    """Write one split's rows (keys of `SCHEMA`) in batches; returns their number."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    file = _SplitFile(folder, split, group_bytes)
    try:
        for row in rows:
            file.add(row)
        file.finish()
    finally:
        file.abandon()
    return file.count


def expression_of(row: Row) -> str | None:
    """The label, or the expression with most votes, ties to the first; None without a vote for one."""
    if row.get("label") is not None:
        return str(row["label"])
    votes = [row.get(name) or 0 for name in VOTE_COLUMNS[: len(EXPRESSIONS)]]
    return EXPRESSIONS[votes.index(max(votes))] if max(votes) > 0 else None


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Errors of the disk become a FaceSetError."""
    try:
        yield
    except OSError as error:
        raise FaceSetError(f"cannot write a face set to {folder} ({str(error.strerror or error).lower()})") from error


class _SplitFile:
    """One Parquet file that grows by row groups, and counts of its rows."""

    def __init__(self, folder: Path, split: str, group_bytes: int = GROUP_BYTES) -> None:
        self._folder, self._group_bytes = folder, group_bytes
        self._waiting, self._bytes = list[Row](), 0
        self.count = 0
        self.tally = Counter[str]()
        with writing(folder):
            self._file = split_file(folder, split).open("wb")
            plain = [name for name in SCHEMA.names if name != "crop"]  # no two pictures are alike
            self._writer = pq.ParquetWriter(self._file, SCHEMA, compression="zstd", use_dictionary=plain)

    def add(self, row: Row) -> None:
        self._waiting.append(row)
        self._bytes += len(row["crop"])
        self.count += 1
        expression = expression_of(row)
        if expression is not None:
            self.tally[expression] += 1
        if len(self._waiting) == GROUP_ROWS or self._bytes >= self._group_bytes:
            self._flush()

    def finish(self) -> None:
        if self._waiting or not self.count:
            self._flush()
        with writing(self._folder):
            self._writer.close()
            self._file.close()

    def abandon(self) -> None:
        """Close the file in any state."""
        with suppress(OSError, pa.ArrowException, ValueError):
            self._writer.close()
        with suppress(OSError):
            self._file.close()

    def _flush(self) -> None:
        with writing(self._folder):
            self._writer.write_table(pa.Table.from_pylist(self._waiting, SCHEMA))
        self._waiting.clear()
        self._bytes = 0
