"""List files that are no lists, or were damaged: a list, or one line that says why not."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.collection.list_file import read_list
from fer_core.errors import SourceError


def reads_or_says_why(name, data):
    try:
        found = read_list(name, data)
    except SourceError as error:
        told = str(error)
    else:
        assert all(isinstance(entry, str) and entry.strip() for entry in found)
        return
    assert told.startswith(name)
    assert "\n" not in told


ODD_TEXT = st.text(st.sampled_from('ab/.,;"\t\r\n\0 \ufeff\u2028é🙂'), max_size=60)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(("x.txt", "x.csv", "x.parquet")), st.binary(max_size=200) | ODD_TEXT.map(str.encode))
def test_any_bytes(name, data):
    reads_or_says_why(name, data)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text(st.characters(exclude_characters="\r\n\ufeff", exclude_categories=["Cs"]), max_size=20), max_size=10))
def test_a_text_list_gives_its_lines_back(lines):
    assert read_list("x.txt", "\n".join(lines).encode()) == [line for line in lines if line and not line.isspace()]


@pytest.mark.parametrize(
    "data",
    [
        b"uri\rs3://a/b\rs3://a/c",  # line ends of old Macs, which the csv module refuses outside of quotes
        b"uri" + b"," * 200_000,  # each cell would take fifty bytes of memory
        b"uri\ncaf\xe9.jpg",
        b"\xff\xfeu\0r\0i\0",
    ],
)
def test_tables_that_are_none_are_said_in_one_line(data):
    with pytest.raises(SourceError, match=r"x\.csv is not"):
        read_list("x.csv", data)


def test_names_with_zero_bytes_are_names():
    assert read_list("x.txt", b"a\0b.jpg\nc.jpg") == ["a\0b.jpg", "c.jpg"]


def test_a_huge_line_is_one_name():
    assert read_list("x.txt", b"a" * 5_000_000 + b"\nb") == ["a" * 5_000_000, "b"]


def parquet(table):
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="none")
    return stream.getvalue()


@pytest.mark.parametrize("kind", [pa.list_(pa.string()), pa.struct({"uri": pa.string()}), pa.int64(), pa.binary(), pa.null()])
def test_a_column_of_anything_but_text_is_refused(kind):
    with pytest.raises(SourceError, match="has no text column"):
        read_list("x.parquet", parquet(pa.table({"uri": pa.nulls(3, kind)})))


def test_text_that_is_none_is_refused():
    data = parquet(pa.table({"uri": ["s3://a/caf0.jpg", "s3://a/b.jpg"]}))
    with pytest.raises(SourceError, match="is not a readable Parquet file"):
        read_list("x.parquet", data.replace(b"caf0", b"caf\xe9"))


def test_a_dictionary_that_is_too_short_is_refused():
    """Its indices are bit-packed: here 0, 1 and 2 become 3, where there are three entries."""
    data = parquet(pa.table({"uri": pa.array(["aa", "bb", "cc"]).dictionary_encode()}))
    packed = bytes([0b00100100, 0])
    assert data.count(packed) == 1
    with pytest.raises(SourceError, match="is not a readable Parquet file"):
        read_list("x.parquet", data.replace(packed, bytes([0b00111111, 0])))
