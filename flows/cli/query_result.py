"""The result of a query as text, JSON, CSV or Parquet, some rows at a time."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
from pyarrow.csv import WriteOptions, write_csv

from fer_core.text import visible, visible_json

WIDEST: Final = 60
"""Characters of a cell of a table; longer ones are cut."""


def records(batches: Iterable[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    """Each row as JSON has it. Of columns with the same name the last one counts."""
    for batch in batches:
        yield from (dict(zip(batch.schema.names, row, strict=True)) for row in _values(batch))


def json_lines(batches: Iterable[pa.RecordBatch]) -> Iterator[str]:
    """An array of one object a line."""
    start = "["
    for record in records(batches):
        yield start + visible_json(json.dumps(record, ensure_ascii=False))
        start = ","
    yield "]" if start == "," else "[]"


def table_lines(names: Sequence[str], batches: Iterable[pa.RecordBatch]) -> list[str]:
    """Columns side by side, as wide as their widest cell, and the number of rows."""
    cells = [[_cell(value) for value in row] for batch in batches for row in _values(batch)]
    heads = [_cell(name) for name in names]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [heads, *cells]]
    count = f"{len(cells):,} row{'s' if len(cells) != 1 else ''}"
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:], f"({count})"]


def csv_text(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """CSV with a line of names. Lists and structures are JSON within their cell."""
    header = True
    for batch in batches:
        yield _csv(batch, header)
        header = False
    if header:
        yield _csv(pa.RecordBatch.from_pylist([], schema), True)


def _csv(batch: pa.RecordBatch, header: bool) -> bytes:
    sink = pa.BufferOutputStream()
    columns = [_flat(column) for column in batch.columns]
    write_csv(pa.RecordBatch.from_arrays(columns, batch.schema.names), sink, WriteOptions(include_header=header))
    return bytes(sink.getvalue())


def _flat(column: pa.Array) -> pa.Array:
    """Types that CSV lacks as text."""
    if pa.types.is_nested(column.type):
        texts = (None if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in column.to_pylist())
        return pa.array(texts, pa.string())
    if pa.types.is_decimal(column.type) or pa.types.is_interval(column.type) or pa.types.is_binary(column.type):
        return pa.array([None if value is None else str(_plain(value)) for value in column.to_pylist()], pa.string())
    return column


def _values(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    return zip(*([_plain(value) for value in _numbers(column)] for column in batch.columns), strict=True)


def _numbers(column: pa.Array) -> Iterable[Any]:
    """Of float32 the shortest number that means the same: 0.9231, not 0.9230999946594238."""
    if column.type != pa.float32():
        values: list[Any] = column.to_pylist()
        return values
    found = column.to_numpy(zero_copy_only=False)
    return [float(str(value)) if valid else None for value, valid in zip(found, column.is_valid().to_pylist(), strict=True)]


def _plain(value: Any) -> Any:  # noqa: ANN401  (whatever SQL gives)
    """As JSON has it; what JSON lacks as text."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def _cell(value: Any) -> str:  # noqa: ANN401  (as `_plain` gives it)
    text = "" if value is None else visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
