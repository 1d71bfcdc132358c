"""The unpacked size in a Parquet file's metadata, checked before it is read: five kilobytes can become gigabytes.

This does not detect a file whose pages contradict its metadata.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData, RowGroupMetaData

TEXT_BYTES: Final = 8192
"""Of an address, an id or a reason, at most."""
CROP_BYTES: Final = 128 * 2**10
"""Of a kept face; one without any redundancy takes 37 KB."""
_BESIDES_EACH: Final = 64
_BESIDES: Final = 2**20
"""What Parquet adds to a row and to a column: lengths, headers, dictionaries."""
_MOST: Final = 2**30
"""Of a column in one row group, whatever it holds; ferflow's own have a tenth of that."""
_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


def check_unpacked(metadata: "FileMetaData", names: Collection[str], largest: Mapping[str, int] = _NOTHING) -> None:
    """ValueError where a row group of the file is too large; see `check_group`."""
    for number in range(metadata.num_row_groups):
        check_group(metadata.row_group(number), names, largest)


def check_group(group: "RowGroupMetaData", names: Collection[str], largest: Mapping[str, int] = _NOTHING) -> None:
    """ValueError where one of the columns unpacks to more than its rows may take. largest: bytes of a value, where not `TEXT_BYTES`."""
    for column in map(group.column, range(group.num_columns)):
        name, size = column.path_in_schema.partition(".")[0], column.total_uncompressed_size
        each = largest.get(name, TEXT_BYTES)
        if name in names and size > min(_MOST, _BESIDES + group.num_rows * (each + _BESIDES_EACH)):
            raise ValueError(f"its column {name!r} unpacks to {size:,} bytes for {group.num_rows:,} rows")
