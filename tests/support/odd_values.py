"""Documents changed at each of their values, and the one kind of answer that is allowed."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from fer_core.errors import FerflowError

DEEP = "DEEP"
"""Stands for a hundred thousand brackets, which Python's own writer cannot write."""
ODD = (None, [], {}, "text", "", "\ud800", "../../up", -1, 2**62, 10**30, 0.5, 1e308, float("nan"), True, [None], {"a": None}, DEEP)


def written(value: Any) -> bytes:
    return json.dumps(value).replace(f'"{DEEP}"', "[" * 100_000 + "]" * 100_000).encode()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document; of a list its first entry stands for all."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def with_at(value: Any, path: tuple[Any, ...], new: Any, gone: bool = False) -> Any:
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    if gone and len(path) == 1:
        del copied[path[0]]
    else:
        copied[path[0]] = with_at(value[path[0]], path[1:], new, gone)
    return copied


def odd(document: Any) -> Iterator[bytes]:
    """All of a document's odd relatives."""
    for path in places(document):
        for new in ODD:
            yield written(with_at(document, path, new))
        if path:
            yield written(with_at(document, path, None, gone=True))
    text = json.dumps(document)
    yield from (b"", b"\xff", text[:-1].encode(), text.encode("utf-16"), b"[" * 100_000, b"{" * 100_000)
    if isinstance(document, dict) and document:
        key = json.dumps(next(iter(document)))
        yield text.replace("{", f"{{{key}: 0, ", 1).encode()
    yield written({**document, "further": 1} if isinstance(document, dict) else document)


def check(document: Any, place: Callable[[bytes], object], *readers: Callable[[], object]) -> None:
    """Put each odd relative in its place and read it, by one reader after another until one refuses it. place: may itself refuse it."""
    place(written(document))
    for read in readers:
        read()
    for data in odd(document):
        with suppress(FerflowError):
            place(data)
        for read in readers:
            try:
                read()
            except Exception as error:
                if not isinstance(error, FerflowError) or "\n" in str(error) or len(str(error)) > 2000:
                    raise AssertionError(f"{type(error).__name__}: {error!s:.300} from {data[:400]!r}") from error
                break
