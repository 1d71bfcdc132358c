"""Rows of parts that this and earlier releases wrote."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_core.commit.part_reader import part_rows
from fer_core.errors import CommitError
from fer_core.tables.parquet_writer import write_part
from fer_core.tables.schema import LABELS
from tests.support.earlier import earlier_part
from tests.support.histories import Night, labeled, tables


@pytest.fixture
def part():
    """Three faces of two images, as this release writes them."""
    return write_part(tables(Night("a", 0, {"/x": labeled(1), "/y": labeled(2)}))[1], {})


@pytest.mark.parametrize("names", [LABELS.names, ["image_uri", "novelty"], ["novelty"]])
def test_a_column_that_came_later_is_null_in_a_part_of_an_earlier_release(part, names):
    schema = pa.schema([LABELS.field(name) for name in names])
    found = part_rows(earlier_part(part), "labels/part", schema)
    assert found.schema.equals(schema, check_metadata=True)
    assert found["novelty"].to_pylist() == [None] * 3
    assert found.equals(part_rows(part, "labels/part", schema))


def test_so_it_is_where_only_some_images_are_asked_for(part):
    found = part_rows(earlier_part(part), "labels/part", LABELS, uris=pa.array(["/y"]))
    assert (found["image_uri"].to_pylist(), found["novelty"].to_pylist()) == (["/y"] * 2, [None] * 2)


@pytest.mark.parametrize("name", ["needs_review", "labeled_at"])
def test_any_other_column_must_be_there(part, name):
    lacking = write_part(pq.ParquetFile(pa.BufferReader(part)).read().drop_columns([name]), {})
    with pytest.raises(CommitError, match=f"a part of a committed run is damaged: labels/part .*{name}"):
        part_rows(lacking, "labels/part", LABELS)
