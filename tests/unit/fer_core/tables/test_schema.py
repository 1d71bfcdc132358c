"""What the tables hold, and what they held under earlier releases."""

import pyarrow as pa
import pytest

from fer_core.tables.schema import ADDED, FACES, IMAGES, LABELS, SCHEMAS, is_released, with_added
from tests.support.earlier import earlier_schema


def test_columns_that_came_later_are_the_last_ones_of_one_table_each():
    for name in ADDED:
        (schema,) = (schema for schema in SCHEMAS.values() if name in schema.names)
        assert ADDED.issuperset(schema.names[schema.get_field_index(name) :])


def test_a_row_of_an_earlier_release_has_nulls_in_them():
    earlier = pa.table({"face_id": ["a", "b"]})
    found = with_added(earlier, LABELS)
    assert found.to_pylist() == [{"face_id": "a", "novelty": None}, {"face_id": "b", "novelty": None}]
    assert found.schema.field("novelty").equals(LABELS.field("novelty"), check_metadata=True)
    assert with_added(earlier, FACES) is earlier
    today = pa.table({"novelty": pa.array([0.5], pa.float32())})
    assert with_added(today, LABELS) is today


@pytest.mark.parametrize("schema", [LABELS, IMAGES, FACES])
def test_columns_of_this_and_earlier_releases(schema):
    assert is_released(schema, schema)
    assert is_released(earlier_schema(schema), schema)
    earlier = list(earlier_schema(schema))
    for other in (earlier[:-1], earlier[1:], earlier[::-1], [*schema, pa.field("more", pa.string())], []):
        assert not is_released(pa.schema(other), schema)


def test_no_release_left_out_or_moved_or_retyped_a_column():
    *earlier, last, novelty = LABELS
    for other in ([*earlier, novelty], [*earlier, novelty, last], [*earlier, last, novelty.with_type(pa.float64())]):
        assert not is_released(pa.schema(other), LABELS)
