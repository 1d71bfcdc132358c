"""Whether the entries of a record that came from JSON are what its fields declare."""

import math
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Literal, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def check_entries(record: "DataclassInstance") -> None:
    """TypeError: a field holds something else than its annotation says. Whole numbers are floats too; what is not finite is none.

    Known kinds: bool, int, float, str, tuples of one of them, Literal, and other records, which check themselves.
    """
    for name, kind in get_type_hints(type(record)).items():
        value = getattr(record, name)
        if not _is(value, kind):
            raise TypeError(f"{name} is {_told(kind)}, not {value!r}")


def _is(value: object, kind: object) -> bool:
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is(each, get_args(kind)[0]) for each in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, kind) if isinstance(kind, type) and is_dataclass(kind) else type(value) is kind


def _told(kind: object) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"a list, each entry {_told(get_args(kind)[0])}"
    words: dict[object, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return words.get(kind, "an object")
