"""Output of a command: its result on standard output, one JSON object or lines for people, and all else on standard error.

All output of `flows` goes through these functions: names and contents of files may have characters that control a terminal.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fer_core.text import visible, visible_json, visible_lines

if TYPE_CHECKING:
    from fer_core.storage.store import Store


def print_result(as_json: bool, value: Mapping[str, object], text: str | Sequence[str]) -> None:
    """Write `value` as one line of JSON, or the text. text: one line or several."""
    lines = [text] if isinstance(text, str) else text
    shown = _json(value, sys.stdout.encoding) if as_json else "\n".join(visible(line) for line in lines)
    sys.stdout.write(shown + "\n")
    sys.stdout.flush()


def _json(value: Mapping[str, object], encoding: str) -> str:
    """In ASCII where the encoding lacks a character: JSON has escapes of its own."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    try:
        text.encode(encoding, "surrogatepass")
    except UnicodeEncodeError:
        return json.dumps(value, default=str)
    return visible_json(text)


def print_line(line: str, *, start: str = "", end: str = "\n") -> None:
    """Write a line to standard error. start, end: what goes before and after it as it is."""
    sys.stderr.write(start + visible(line) + end)
    sys.stderr.flush()


def print_unregistered(store: "Store", url: str) -> None:
    """Write that a labels root does not know of what was written from it, where that is so. url: of the file or folder."""
    from fer_core.outputs.registry import is_registered

    if not is_registered(store, url):
        reason = f"{store.url()} cannot be written, or not with this name, so it does not know of {url}"
        print_line(f"note: {reason}: ferflow forget --everywhere will not find it")


def print_failure(as_json: bool, sentence: str) -> None:
    """Write why a command ends: on standard error, and as a JSON object."""
    if as_json:
        print_result(True, {"error": sentence}, "")
    print_line(f"ferflow: {sentence}")


def print_lines(text: str) -> None:
    """Write a text of several lines to standard error: a traceback, a usage."""
    sys.stderr.write(visible_lines(text))
    sys.stderr.flush()
