"""Images that the listing takes for copies of one another: moved, copied or kept twice. Whether they are is known when they are read."""

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.tables.schema import CANDIDATES

SMALLEST: Final = 512
"""Bytes of a file from which on its copies are looked for: smaller ones are of one size by chance."""


def listing_keys(images: pa.Table) -> pa.ChunkedArray:
    """What copies have in common: size and entity tag, without a tag size and file name; null where a file is too small to tell."""
    names = pc.replace_substring_regex(images["image_uri"], "(?s)^.*/", "")
    keys = pc.binary_join_element_wise(images["bytes"].cast(pa.string()), pc.coalesce(images["etag"], names), "/")
    return pc.if_else(pc.fill_null(pc.greater_equal(images["bytes"], SMALLEST), False), keys, pa.scalar(None, pa.string()))


def with_earlier_copies(new: pa.Table, known: pa.Table) -> pa.Table:
    """New images of `schema.CANDIDATES`, each without a result of its own with the place of one that it may be a copy of.

    known: `incremental.KNOWN`; a batch of it is in memory at a time, and of the rest what has the size of such an image.
    """
    if not known.num_rows:
        return new
    is_open = pc.is_null(new["earlier_part"])
    wanted = new.filter(is_open)
    sizes = pc.unique(wanted["bytes"]).drop_null()
    if not len(sizes):
        return new
    columns = known.select(["image_uri", "bytes", "etag", "earlier_part"])
    kept = [rows.filter(pc.and_(pc.is_valid(rows["earlier_part"]), pc.is_in(rows["bytes"], sizes))) for rows in columns.to_batches()]
    earlier = pa.Table.from_batches(kept, columns.schema)
    if not earlier.num_rows:
        return new
    found = pc.index_in(listing_keys(new), value_set=listing_keys(earlier).combine_chunks(), skip_nulls=True)
    found = pc.if_else(is_open, found, pa.scalar(None, pa.int32()))
    parts = pc.coalesce(new["earlier_part"], earlier["earlier_part"].take(found).cast(pa.string()))
    result = new.set_column(new.schema.get_field_index("earlier_part"), "earlier_part", parts)
    return result.set_column(new.schema.get_field_index("earlier_uri"), "earlier_uri", earlier["image_uri"].take(found)).cast(CANDIDATES)
