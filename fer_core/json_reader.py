"""Untrusted JSON, read within bounds on its length, depth, number of values and numbers.

Python's reader accepts what is no JSON (NaN), keeps the last of two equal keys, makes whole numbers of any length and raises a
RecursionError on deeply nested brackets. Everything that this module refuses is a ValueError, as every other fault of JSON is.
"""

import json
import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final, NoReturn

MOST_BYTES: Final = 64 * 2**20
MOST_DEPTH: Final = 64
"""Objects and lists within one another; no document of ferflow has more than eight."""
MOST_VALUES: Final = 10_000_000
"""Of three characters each become a hundred bytes of memory."""
LARGEST_WHOLE: Final = 2**63 - 1
"""What tables, dates and other programs hold."""

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""With or without its end, so that no text makes the search begin again in its middle."""
_NOT_STRUCTURE: Final = bytes(set(range(256)) - set(b"[]{},"))
_NOT_BRACKETS: Final = b","
_STEPS: Final = tuple(1 if byte in b"[{" else -1 for byte in range(256))
_LONE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
"""Half of a character that UTF-16 writes in two: by itself it is none, and no file can hold it."""


def parse_json(data: bytes | str, most_bytes: int = MOST_BYTES, *, constants: bool = False) -> object:
    """The value of a document in UTF-8, with or without its mark. ValueError where it is no JSON, or beyond a bound.

    constants: whether NaN and infinities count as numbers, as figures of a training run may be.
    """
    raw = data.encode() if isinstance(data, str) else data
    if len(raw) > most_bytes:
        raise ValueError(f"more than {most_bytes:,} bytes of JSON")
    _check_structure(raw)
    text = raw.decode("utf-8-sig")
    if constants:
        value: object = json.loads(text, parse_int=_whole, object_pairs_hook=_object)
    else:
        value = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_refuse, object_pairs_hook=_object)
    if _LONE.search(raw):
        json.dumps(value, ensure_ascii=False).encode()  # UnicodeEncodeError, a ValueError, where a half is alone
    return value


def parse_object(data: bytes | str, most_bytes: int = MOST_BYTES, *, constants: bool = False) -> dict[str, Any]:
    """The same for an object; ValueError for anything else."""
    value = parse_json(data, most_bytes, constants=constants)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _check_structure(raw: bytes) -> None:
    structure = _STRING.sub(b"", raw).translate(None, delete=_NOT_STRUCTURE)
    if len(structure) > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")
    brackets = structure.translate(None, delete=_NOT_BRACKETS)
    opened = brackets.count(b"[") + brackets.count(b"{")
    if opened > MOST_DEPTH and any(map(MOST_DEPTH.__lt__, accumulate(map(_STEPS.__getitem__, brackets)))):  # up to the first too deep
        raise ValueError(f"objects and lists more than {MOST_DEPTH} deep")


def _whole(digits: str) -> int:
    if len(digits) > len(str(-LARGEST_WHOLE)) or abs(int(digits)) > LARGEST_WHOLE:
        raise ValueError("a whole number of more than 64 bits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number that is too large")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice in one object")
    return found
