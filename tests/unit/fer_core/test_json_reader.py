"""JSON within bounds: what is refused, what is not, and that nothing but a ValueError comes of it."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.json_reader import MOST_DEPTH, parse_json, parse_object
from fer_core.storage.bounded_file import read_bounded

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read(value):
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False, indent=1).encode()) == value


@given(st.binary(max_size=64) | st.text(alphabet='[]{}",:\\u0dD8-eE.19', max_size=64).map(str.encode))
def test_anything_else_is_a_value_error(data):
    with suppress(ValueError):
        parse_json(data)


REFUSED = (
    (b"[" * 100_000, "deep"),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "deep"),
    (b"[" * (MOST_DEPTH + 1) + b"]" * (MOST_DEPTH + 1), "deep"),
    (b'["' + b"[" * 1000 + b'"' + b",[]" * 1000 + b"," + b"[" * 64 + b"]" * 64 + b"]", "deep"),
    (b"[" + b"0," * 10_000_001 + b"0]", "values"),
    (b"9" * 5000, "64 bits"),
    (b"-9223372036854775809", "64 bits"),
    (b"1e999", "too large"),
    (b"NaN", "NaN"),
    (b"[-Infinity]", "Infinity"),
    (b'{"a": 1, "a": 1}', "twice"),
    (b'"\\ud800"', "surrogates"),
    (b'{"\\uDFFF": 1}', "surrogates"),
    (b"\xff\xfe[]", "utf-8"),
    (b'"' + b'\\"' * 100_000, "Unterminated"),
    (b"", "Expecting"),
    (b" " * 200, "more than 100 bytes"),
)


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(number):
    data, why = REFUSED[number]
    with pytest.raises(ValueError, match=why):
        parse_json(data, 100 if why.endswith("100 bytes") else 64 * 2**20)


def test_what_is_not_refused():
    assert parse_json(b"[" * MOST_DEPTH + b"]" * MOST_DEPTH)
    assert parse_json(b'["' + b"[" * 100_000 + b'"]') == ["[" * 100_000]
    assert parse_json(b'\xef\xbb\xbf"\\ud83d\\ude00"') == "\N{GRINNING FACE}"
    assert parse_json(b"[NaN, 1e999]", constants=True) == pytest.approx([float("nan"), float("inf")], nan_ok=True)
    assert parse_object('{"a": 1}') == {"a": 1}
    with pytest.raises(ValueError, match="not a JSON object"):
        parse_object("[]")


def test_no_more_of_a_file_than_may_be(tmp_path):
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(2**40)  # takes no room on the disk
    with pytest.raises(ValueError, match="more than 1,000 bytes"):
        read_bounded(tmp_path / "large", 1000)
