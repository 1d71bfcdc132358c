from fer_core.run.shard_job import ImageRef
from fer_core.tables.builder import ImageFacts
from fer_core.tables.reasons import MOST, joined_reasons, reasons_of


def row(reason, status="unreadable", uri="/photos/a: b.jpg"):
    return ImageFacts(ImageRef(uri, 1, None, None), status, reason)


def test_what_differs_from_image_to_image_does_not_count():
    found = reasons_of(
        [
            row("12,000 x 10,000 pixels, more than 100,000,000", "too_large"),
            row("9,999 x 99,999 pixels, more than 100,000,000", "too_large"),
            row("the file is not there (stale file handle)", "missing"),
            row("the file is not there", "missing"),
            row("cannot open /photos/a: b.jpg: no such key", "missing"),
            row("cannot open s3://bucket/secret name", "missing"),
            row(None, "no_face"),
            ImageFacts(ImageRef("/c.jpg", 1, None, None), "no_face", "the file ends early", "0" * 64, 9, 9),
        ]
    )
    assert found == {
        "missing: the file is not there": 2,
        "too_large: pixels, more than 100,000,000": 2,
        "missing": 1,
        "missing: cannot open it": 1,
    }


def test_those_of_shards_are_joined_and_few():
    many = {f"missing: {number}": 1 for number in range(20)}
    assert joined_reasons([many, {"missing: 19": 1}]) == {"missing: 19": 2, **dict.fromkeys(sorted(many)[: MOST - 1], 1)}
