"""Values out of JSON from outside, each checked when it is read."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from fer_core.errors import ReviewError
from fer_core.json_reader import parse_json
from fer_core.labels import EXPRESSIONS

MOST_TEXT: Final = 4096
LARGEST_PIXEL: Final = 1e6
AHEAD: Final = timedelta(days=1)
"""Clocks differ, but a review from the day after tomorrow would stand above all others for ever."""

_SHA256: Final = re.compile("[0-9a-f]{64}")
_EXPORT_ID: Final = re.compile("[0-9a-f]{16}")


def parsed(data: bytes, name: str, most_bytes: int) -> object:
    """JSON in UTF-8, or a ReviewError. NaN and infinities are no JSON."""
    try:
        return parse_json(data, most_bytes)
    except ValueError as error:
        raise ReviewError(f"{name} is not JSON ({error})") from error


def object_of(value: object, where: str) -> Mapping[str, object]:
    """`value` where it is a JSON object."""
    if not isinstance(value, dict):
        raise ReviewError(f"{where} is not an object")
    return value


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one JSON object. Everything raises ReviewError in a sentence that begins with `where`."""

    value: Mapping[str, object]
    where: str
    """Name of the object in errors: `correction 3`, `task 17`."""

    def text(self, name: str, *, empty: bool = False) -> str:
        """A string on one line; of at least one character unless `empty`."""
        found = self.value.get(name)
        if not isinstance(found, str) or len(found) > MOST_TEXT or not (found or empty) or not _encodable(found):
            raise ReviewError(f"{self.where} has no usable {name!r}")
        return found

    def sha256(self, name: str) -> str:
        """A digest in lower-case hex."""
        found = self.text(name)
        if not _SHA256.fullmatch(found):
            raise ReviewError(f"{self.where}: {name!r} is no SHA-256 digest")
        return found

    def export_id(self, name: str) -> str:
        """The id of an export."""
        found = self.text(name)
        if not _EXPORT_ID.fullmatch(found):
            raise ReviewError(f"{self.where}: {name!r} is no id of an export of ferflow")
        return found

    def expression(self, name: str) -> str:
        """One of the eight."""
        found = self.text(name)
        if found not in EXPRESSIONS:
            raise ReviewError(f"{self.where}: {found[:40]!r} is no expression (they are {', '.join(EXPRESSIONS)})")
        return found

    def box(self, name: str) -> tuple[float, float, float, float]:
        """x, y, width, height."""
        found = self.value.get(name)
        if not isinstance(found, list) or len(found) != 4 or not all(_is_pixel(number) for number in found):
            raise ReviewError(f"{self.where}: {name!r} is not x, y, width and height in pixels")
        x, y, width, height = (float(number) for number in found)
        if width <= 0 or height <= 0:
            raise ReviewError(f"{self.where}: {name!r} has no area")
        return x, y, width, height

    def moment(self, name: str) -> int:
        """A time with its zone, ISO 8601, not in the future -> microseconds since the epoch."""
        found = self.text(name)
        try:
            moment = datetime.fromisoformat(found)
            us = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        except (ValueError, TypeError, OverflowError) as error:
            raise ReviewError(f"{self.where}: {name!r} is no time with its zone: {found[:40]!r}") from error
        if moment > datetime.now(UTC) + AHEAD or us < 0:
            raise ReviewError(f"{self.where}: {name!r} is not a possible time of a review: {found[:40]!r}")
        return us


def _is_pixel(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) <= LARGEST_PIXEL


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
