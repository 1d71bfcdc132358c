"""Rows by image URI on disk: whatever the pieces, the same rows as in memory."""

import os
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.collection.inventory import inventory_of
from fer_core.collection.local_listing import ListedFile
from fer_core.errors import StoreError
from fer_core.storage import spill
from fer_core.storage.spill import RowLimits, merge_by_key, sort_by_uri, sorted_runs, spill_tables

SCHEMA = pa.schema([("image_uri", pa.string()), ("came", pa.int64())])
URIS = st.lists(st.sampled_from(["/a", "/a0", "/b", "/B", "/é", "/日", "/𝄞", "/￿"]), max_size=6)
FEW = RowLimits(3, 1)
"""So that a handful of rows goes to disk."""


def tables(lists):
    """One for each list of URIs; every row knows when it came."""
    starts = [sum(map(len, lists[:number])) for number in range(len(lists))]
    return [
        pa.table([pa.array(uris, pa.string()), pa.array(range(start, start + len(uris)), pa.int64())], schema=SCHEMA)
        for uris, start in zip(lists, starts, strict=True)
    ]


def rows(found):
    return list(zip(found["image_uri"].to_pylist(), found["came"].to_pylist(), strict=True))


@settings(deadline=None, max_examples=150)
@given(st.lists(URIS, max_size=6), st.sampled_from([1, 2, 5, 1000]))
def test_nothing_is_lost_or_moved_on_disk(lists, at_once):
    found = spill_tables(iter(tables(lists)), SCHEMA, RowLimits(at_once))
    assert rows(found) == [row for table in tables(lists) for row in rows(table)]


@settings(deadline=None, max_examples=300)
@given(st.lists(URIS, max_size=8), st.sampled_from([1, 3, 1000]))
def test_runs_are_sorted_and_aligned_slices_part_no_uri(lists, at_once):
    limits = RowLimits(at_once, 1)
    given_rows = [row for table in tables(lists) for row in rows(table)]
    runs = sorted_runs(iter(tables(lists)), SCHEMA, limits)
    assert all(rows(sort_by_uri(run)) == rows(run) for run in runs)
    turns = [[rows(piece) for piece in pieces] for pieces in merge_by_key(runs, limits)]
    assert sorted(row for pieces in turns for piece in pieces for row in piece) == sorted(given_rows)
    seen = [{uri for piece in pieces for uri, _ in piece} for pieces in turns]
    assert all(seen)  # each turn gets on
    assert all(max(before) < min(after) for before, after in pairwise(seen))
    # rows of a URI keep their order, by which the newest result is found
    in_turn = [row for pieces in turns for row in sorted((row for piece in pieces for row in piece), key=lambda row: row[0])]
    assert in_turn == sorted(given_rows)


def test_slices_stay_small_where_no_uri_has_many_rows():
    names = [f"/{number:03d}" for number in range(90)]
    runs = sorted_runs(iter(tables([names[::3], names[1::3], names[2::3]])), SCHEMA, FEW)
    assert len(runs) == 3
    sizes = [sum(piece.num_rows for piece in pieces) for pieces in merge_by_key(runs, FEW)]
    assert sum(sizes) == 90
    assert max(sizes) <= 3


def test_a_listing_in_any_order_with_repeats_is_an_inventory():
    listed = [ListedFile(f"s3://b/{number * 7 % 20:02d}", number) for number in range(40)]
    found = inventory_of(iter(listed), limits=FEW)
    assert found["image_uri"].to_pylist() == [f"s3://b/{number:02d}" for number in range(20)]
    assert set(Counter(found["image_uri"].to_pylist()).values()) == {1}


def test_no_file_is_left_even_while_the_rows_are_there(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen = []

    def listed():
        for table in tables([["/a", "/b", "/c", "/d"], ["/e"] * 5, ["/f"]]):
            seen.extend(tmp_path.iterdir())  # as a kill would leave them
            yield table

    found = spill_tables(listed(), SCHEMA, FEW)
    assert seen == list(tmp_path.iterdir()) == []
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(tmp_path) in maps.read_text()  # the rows are in the file that has no name any more
    assert found["came"].to_pylist() == list(range(10))


@pytest.mark.parametrize("trouble", ["absent", "full"])
def test_where_nothing_can_be_written_one_line_says_so(monkeypatch, tmp_path, trouble):
    folder = tmp_path / "absent"
    if trouble == "full":
        if not os.path.exists("/dev/full"):
            pytest.skip("no device that is always full")
        folder = tmp_path
        monkeypatch.setattr(spill, "TemporaryFile", lambda **_: open("/dev/full", "wb", buffering=0))  # noqa: SIM115  (closed there)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with pytest.raises(StoreError, match=rf"^cannot write to {folder}: (No such file|No space left)") as caught:
        spill_tables(iter(tables([["/a"] * 4, ["/b"] * 4])), SCHEMA, FEW)
    assert "\n" not in str(caught.value)


def test_what_goes_wrong_in_listing_is_not_blamed_on_the_folder():
    def broken():
        yield from tables([["/a"] * 4, ["/b"] * 4])
        raise OSError(5, "Input/output error", "/photos")

    with pytest.raises(OSError, match="/photos"):
        spill_tables(broken(), SCHEMA, FEW)
