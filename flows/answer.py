"""What a command answers: one JSON object, or text for people, on standard output. Everything else goes to standard error."""

import json
import sys
from collections.abc import Mapping


def answer(as_json: bool, value: Mapping[str, object], text: str) -> None:
    """Write `value` as one line of JSON, or `text`."""
    sys.stdout.write((json.dumps(value, ensure_ascii=False, default=str) if as_json else text) + "\n")
    sys.stdout.flush()
