"""Files of reviews, whole and broken: what is read, and which sentence refuses the rest."""

import json
import re
from contextlib import suppress
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.errors import ReviewError
from fer_core.labels import EXPRESSIONS
from fer_core.review.corrections import LARGEST, read_corrections
from fer_core.review.label_studio import configuration
from fer_core.review.verdicts import KEYS, SPOKEN, VERDICTS

ENTRY = {
    "image_sha256": "a" * 64,
    "image_uri": "/photos/é.jpg",
    "box": [1.5, 2, 30, 40],
    "verdict": "fear",
    "previous_expression": "surprise",
    "previous_model": "b" * 64,
    "reviewed_at": "2026-02-01T10:00:00.5Z",
}
OTHER = {**ENTRY, "box": [50, 2, 30, 40], "verdict": "not_a_face"}
FILE = {"format": "ferflow corrections", "version": 1, "export_id": "0123456789abcdef", "reviewer": " Anna ", "corrections": [ENTRY, OTHER]}

TASK = {
    "id": 17,
    "data": {
        **{name: value for name, value in ENTRY.items() if name not in {"verdict", "reviewed_at"}},
        "image": "data:image/png;base64,",
        "export_id": "0" * 16,
    },
    "annotations": [
        {
            "id": 5,
            "completed_by": {"id": 3, "email": "anna@example.org"},
            "result": [{"id": "x", "from_name": "expression", "to_name": "face", "type": "choices", "value": {"choices": ["not a face"]}}],
            "was_cancelled": False,
            "created_at": "2026-02-01T10:00:00Z",
            "updated_at": "2026-02-01T11:00:00Z",
        }
    ],
    "predictions": [],
}


def read(value, reviewer=None):
    return read_corrections(json.dumps(value).encode(), "file.json", reviewer)


def changed(value, path, new):
    """A copy with one place changed; `...` removes it."""
    copy = deepcopy(value)
    place = copy
    for step in path[:-1]:
        place = place[step]
    if new is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = new
    return copy


def test_a_corrections_file_is_read_as_it_was_saved():
    first, second = read(FILE)
    assert (first.image_sha256, first.image_uri, first.box, first.verdict) == ("a" * 64, "/photos/é.jpg", (1.5, 2, 30, 40), "fear")
    assert (first.reviewer, first.export_id) == ("Anna", "0123456789abcdef")
    assert first.reviewed_at_us == 1_769_940_000_500_000
    assert second.verdict == "not_a_face"
    assert {row.reviewer for row in read(FILE, "Bert")} == {"Bert"}


def test_an_export_of_label_studio_is_read():
    (found,) = read([TASK])
    assert (found.verdict, found.reviewer, found.box) == ("not_a_face", "anna@example.org", (1.5, 2, 30, 40))
    assert found.reviewed_at_us == 1_769_943_600_000_000
    assert read([changed(TASK, ["annotations", 0, "completed_by"], 4)])[0].reviewer == "label-studio user 4"
    assert read([TASK, {**TASK, "annotations": []}, changed(TASK, ["annotations", 0, "was_cancelled"], True)]) == [found]


@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_choice_of_the_configuration_is_understood(verdict):
    assert re.search(f'<Choice value="{SPOKEN[verdict]}" hotkey="{KEYS[verdict]}"/>', configuration())
    answered = changed(TASK, ["annotations", 0, "result", 0, "value", "choices"], [SPOKEN[verdict]])
    assert read([answered])[0].verdict == verdict


FIRST = ["corrections", 0]
BROKEN = [
    (["format"], "something", "neither a corrections file of ferflow nor Label Studio's export"),
    (["version"], 2, "of version 2; this ferflow reads version 1"),
    (["export_id"], "../../x", "'export_id' is no id of an export"),
    (["reviewer"], "", "file.json does not name the reviewer; give --reviewer NAME"),
    (["reviewer"], 7, "file.json has no usable 'reviewer'"),
    (["corrections"], {}, "has no list 'corrections'"),
    (["corrections"], [], "there is no review in file.json"),
    (["corrections", 1], 3, "correction 2 of file.json is not an object"),
    (["corrections", 1], ENTRY, "correction 2 of file.json is about the same face as correction 1"),
    ([*FIRST, "verdict"], "joy", "correction 1 of file.json: 'joy' is no verdict"),
    ([*FIRST, "verdict"], ["fear"], "correction 1 of file.json has no usable 'verdict'"),
    ([*FIRST, "previous_expression"], "unsure", "'unsure' is no expression"),
    ([*FIRST, "previous_model"], "tiny", "'previous_model' is no SHA-256 digest"),
    ([*FIRST, "image_sha256"], "A" * 64, "'image_sha256' is no SHA-256 digest"),
    ([*FIRST, "image_sha256"], ..., "correction 1 of file.json has no usable 'image_sha256'"),
    ([*FIRST, "image_uri"], "", "has no usable 'image_uri'"),
    ([*FIRST, "image_uri"], "\ud800", "file.json is not JSON"),
    ([*FIRST, "image_uri"], "x" * 5000, "has no usable 'image_uri'"),
    ([*FIRST, "box"], [1, 2, 3], "'box' is not x, y, width and height in pixels"),
    ([*FIRST, "box"], [1, 2, 3, True], "'box' is not x, y, width and height in pixels"),
    ([*FIRST, "box"], [1, 2, 3, 1e9], "'box' is not x, y, width and height in pixels"),
    ([*FIRST, "box"], [1, 2, 3, "4"], "'box' is not x, y, width and height in pixels"),
    ([*FIRST, "box"], [1, 2, 0, 4], "'box' has no area"),
    ([*FIRST, "reviewed_at"], "yesterday", "'reviewed_at' is no time with its zone: 'yesterday'"),
    ([*FIRST, "reviewed_at"], "2026-02-01T10:00:00", "'reviewed_at' is no time with its zone"),
    ([*FIRST, "reviewed_at"], "9026-02-01T10:00:00Z", "is not a possible time of a review"),
    ([*FIRST, "reviewed_at"], "1826-02-01T10:00:00Z", "is not a possible time of a review"),
]


@pytest.mark.parametrize(("path", "new", "told"), BROKEN, ids=[f"{path[-1]}-{number}" for number, (path, _, _) in enumerate(BROKEN)])
def test_what_is_wrong_with_a_corrections_file_is_one_sentence(path, new, told):
    with pytest.raises(ReviewError) as refused:
        read(changed(FILE, path, new))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


RESULT = ["annotations", 0, "result"]
BROKEN_TASKS = [
    (["annotations"], ..., "task 17 of file.json has no list 'annotations': export as JSON, not as JSON-MIN"),
    (["annotations", 0], 3, "an annotation of task 17 of file.json is not an object"),
    (["data"], ..., "task 17 of file.json: 'data' is not an object"),
    (["data", "image_sha256"], ..., "task 17 of file.json has no usable 'image_sha256'"),
    (["data", "export_id"], "x", "'export_id' is no id of an export"),
    (["data", "box"], None, "'box' is not x, y, width and height"),
    (RESULT, [], "task 17 of file.json has 0 choices instead of one"),
    ([*RESULT, 0, "value", "choices"], ["fear", "anger"], "has 2 choices instead of one"),
    ([*RESULT, 0, "value", "choices"], ["joy"], "task 17 of file.json: 'joy' is no verdict"),
    ([*RESULT, 0, "value", "choices"], [{}], "'{}' is no verdict"),
    ([*RESULT, 0, "value"], {"rectanglelabels": ["x"]}, "was not annotated with ferflow's labelling configuration"),
    ([*RESULT, 0, "from_name"], "tag", "was not annotated with ferflow's labelling configuration"),
    (["annotations", 0, "completed_by"], None, "task 17 of file.json does not name the reviewer"),
    (["annotations", 0, "updated_at"], "soon", "'updated_at' is no time with its zone"),
]


@pytest.mark.parametrize(
    ("path", "new", "told"), BROKEN_TASKS, ids=[f"{path[-1]}-{number}" for number, (path, _, _) in enumerate(BROKEN_TASKS)]
)
def test_what_is_wrong_with_a_task_is_one_sentence(path, new, told):
    with pytest.raises(ReviewError) as refused:
        read([changed(TASK, path, new)])
    assert told in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"{", b"[" * 100_000, b"nonsense", b'{"box": NaN}', b'{"a": Infinity}'])
def test_what_is_not_json_is_refused(data):
    with pytest.raises(ReviewError, match=r"file\.json is not JSON"):
        read_corrections(data, "file.json")


@pytest.mark.parametrize("value", [3, "x", None, {}, [], [3], [[]], [{}]])
def test_json_of_another_kind_is_refused(value):
    with pytest.raises(ReviewError):
        read(value)


def test_a_huge_file_is_refused_before_it_is_read():
    with pytest.raises(ReviewError, match="is too large"):
        read_corrections(bytes(LARGEST + 1), "file.json")


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([*EXPRESSIONS, "x", "a" * 64]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ENTRY, *FILE, "annotations", "data", "result"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_JSON, st.sampled_from([[], ["corrections"], FIRST, *([*FIRST, name] for name in ENTRY)]))
@settings(deadline=None, max_examples=120)
def test_anything_is_either_read_or_refused(junk, path):
    value = changed(FILE, path, junk) if path else junk
    with suppress(ReviewError):
        assert read(value)
