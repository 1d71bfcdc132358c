"""Content digests. SHA-256 everywhere, written in lower-case hex."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path


def file_sha256(file: Path) -> str:
    """Digest of a local file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def json_sha256(value: Mapping[str, object]) -> str:
    """Digest of a JSON value in its canonical writing: sorted keys, no blanks, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
