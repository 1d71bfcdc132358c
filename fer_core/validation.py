"""Whether the entries of a record that came from JSON are what its fields declare."""

import math
from dataclasses import is_dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_SHOWN: Final = 80
"""Characters of a wrong value that are repeated."""


def check_entries(record: "DataclassInstance") -> None:
    """TypeError: the value of a field does not match its annotation. Whole numbers are floats too; numbers that are not finite are none.

    Known kinds: bool, int, float, str, None and choices of them, tuples, dicts, Literal, Any, and other records, which check themselves.
    """
    for name, kind in _kinds(type(record)).items():
        value = getattr(record, name)
        if not _is(value, kind):
            raise TypeError(f"{name} is {_told(kind)}, not {_short(value)}")


@lru_cache(maxsize=64)
def _kinds(record: type) -> dict[str, object]:
    return get_type_hints(record)


def _is(value: object, kind: object) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, UnionType):
        return any(_is(value, one) for one in inner)
    if origin is Literal:
        return isinstance(value, str) and value in inner
    if origin in (tuple, dict):
        return _holds(value, origin, inner)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, kind) if isinstance(kind, type) and is_dataclass(kind) else type(value) is kind


def _holds(value: object, origin: object, inner: tuple[object, ...]) -> bool:
    if origin is dict:
        return isinstance(value, dict) and all(_is(key, inner[0]) and _is(each, inner[1]) for key, each in value.items())
    if not isinstance(value, tuple):
        return False
    kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
    return len(value) == len(kinds) and all(map(_is, value, kinds))


def _told(kind: object) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(_told(one) for one in inner)
    if origin is Literal:
        return "one of " + ", ".join(map(str, inner))
    if origin is tuple:
        return f"a list, each entry {_told(inner[0])}"
    words: dict[object, str] = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a string",
        NoneType: "null",
    }
    return words.get(kind, "an object")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
