"""Names of parts, as text and as a record."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.run.part_name import PartName
from fer_core.run.receipts import PartReceipt, ShardReceipt

PIECES = st.lists(st.text("0123456789abcdef", min_size=1, max_size=8), max_size=4).map(tuple)
NAMES = st.builds(PartName, st.integers(0, 10**9 - 1), PIECES)


@given(NAMES)
def test_a_name_is_read_back_from_its_text(name):
    assert PartName.parse(str(name)) == name
    assert PartName.of_file(name.file) == name
    assert name.file == f"{name}.parquet"


@given(st.from_regex(r"part-[0-9]{1,11}(-[0-9a-g]{0,3})*\n?", fullmatch=True) | st.text(max_size=20))
def test_a_text_is_a_name_or_is_refused(text):
    try:
        name = PartName.parse(text)
    except ValueError:
        return
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "part-",
        "part-0001",
        "part-000001",
        "part-1234567890",
        "part-00001-",
        "part-00001-G",
        "part-00001 ",
        "part-00001\n",
        "part-0000\u0661",
    ],
)
def test_other_texts_are_no_names(text):
    with pytest.raises(ValueError, match="not the name of a part"):
        PartName.parse(text)
    for file in (text, f"{text}.parquet", "part-00001", "part-00001.parquet.parquet", "part-00001.json"):
        with pytest.raises(ValueError, match="name of a part"):
            PartName.of_file(file)


def test_names_are_those_of_saved_files():
    assert str(PartName(12)) == "part-00012"
    assert str(PartName(123_456)) == "part-123456"
    assert str(PartName(12).half(1).half(0)) == "part-00012-1-0"
    assert PartName(0, ("1f2e3d4c",)).file == "part-00000-1f2e3d4c.parquet"


@given(NAMES, st.lists(st.integers(0, 1), max_size=4))
def test_pieces_follow_their_shard_and_know_it(whole, halves):
    name = whole
    for half in halves:
        assert name.half(half).ancestors == (*name.ancestors, name)
        assert name < name.half(half) < PartName(name.number + 1)
        name = name.half(half)
    assert all(ancestor.number == whole.number for ancestor in name.ancestors)


@given(NAMES)
def test_receipts_name_them_in_json(name):
    part = PartReceipt("images", name, 1, 2, "ab" * 32)
    receipt = ShardReceipt(name, (part,), {"labeled": 1}, {}, 0, {"read": 0.5})
    document = json.loads(json.dumps(receipt.to_json()))
    assert (document["part"], document["parts"][0]["name"]) == (str(name), f"{name}.parquet")
    assert ShardReceipt.from_json(document) == receipt
    for value in (None, 3, [], "part-1.parquet"):
        with pytest.raises((TypeError, ValueError)):
            PartReceipt.from_json({**part.to_json(), "name": value})
        with pytest.raises((TypeError, ValueError)):
            ShardReceipt.from_json({**document, "part": value})
