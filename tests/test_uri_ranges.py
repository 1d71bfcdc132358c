"""Rows dealt out to ranges and taken back."""

from collections import Counter
from tempfile import TemporaryDirectory

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.uri_ranges import UriRanges, cuts

NAMES = st.text("ab/é🙂￿", max_size=4)
SAMPLES = st.lists(st.tuples(NAMES, st.integers(1, 9)), max_size=40)
ROWS = pa.schema([("image_uri", pa.string()), ("number", pa.int64())])


@given(SAMPLES, st.integers(1, 30))
def test_a_range_holds_so_many_rows_at_most_unless_they_are_of_one_uri(samples, most):
    found = cuts(samples, most)
    assert found == sorted(set(found))
    rows, uris = Counter(), {}
    for uri, weight in samples:
        number = sum(cut <= uri for cut in found)
        rows[number] += weight
        uris.setdefault(number, set()).add(uri)
    assert all(count <= most or len(uris[number]) == 1 for number, count in rows.items())
    assert set(rows) == set(range(len(found) + 1)) or not samples
    assert all(rows[number] + rows[number + 1] > most for number in range(len(found))), "no cut without need"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(NAMES, max_size=8), max_size=8), st.lists(NAMES, max_size=5, unique=True))
def test_every_row_comes_back_once_and_in_its_range(batches, where):
    with TemporaryDirectory() as folder:
        ranges = UriRanges(folder, sorted(where))
        for number, uris in enumerate(batches):
            rows = pa.table({"image_uri": uris, "number": [number] * len(uris)}, ROWS)
            ranges.deal("some", rows)
            ranges.deal("others", rows.slice(0, 1))
        taken = [ranges.take("some", number, ROWS) for number in range(len(ranges))]
        assert ranges.take("none", 0, ROWS).num_rows == 0
        assert sum(ranges.take("others", number, ROWS).num_rows for number in range(len(ranges))) == sum(map(bool, batches))
    for number, rows in enumerate(taken):
        assert rows.schema == ROWS
        assert all(sum(cut <= uri for cut in where) == number for uri in rows["image_uri"].to_pylist())
    found = Counter((row["image_uri"], row["number"]) for rows in taken for row in rows.to_pylist())
    assert found == Counter((uri, number) for number, uris in enumerate(batches) for uri in uris)
