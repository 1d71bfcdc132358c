"""The commonest reasons why images of a run could not be processed, without what differs from image to image."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from fer_core.tables.builder import ImageFacts
from fer_core.tables.schema import QUARANTINE

MOST: Final = 8
"""Reasons that a shard and a run keep."""
_SIZE: Final = re.compile(r"[\d,]+( x [\d,]+)? ", re.ASCII)


def reasons_of(facts: Iterable[ImageFacts]) -> dict[str, int]:
    """The commonest reasons of some images. What is said of an image that was processed, as damage, is none."""
    failed = (one for one in facts if one.status in QUARANTINE and one.reason is not None)
    return _commonest(Counter(reason_kind(one.status, str(one.reason), one.ref.uri) for one in failed))


def joined_reasons(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Those of several shards together."""
    total = Counter[str]()
    for one in counts:
        total.update(one)
    return _commonest(total)


def _commonest(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST])


def reason_kind(status: str, reason: str, uri: str) -> str:
    """`too_large: pixels, more than 100,000,000`: no size, no details, and no name of an image."""
    text = reason.replace(uri, "it").partition(": ")[0].partition(" (")[0]
    size = _SIZE.match(text)
    text = text[size.end() :] if size else text
    return status if "://" in text else f"{status}: {text}"
