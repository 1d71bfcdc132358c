"""One row a face: the columns of every face set, aligned or raw."""

from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa

from fer_core.labels import EXPRESSIONS

SPLITS: Final = ("train", "valid", "test")
VOTE_COLUMNS: Final = (*(f"votes_{name}" for name in EXPRESSIONS), "votes_unknown", "votes_not_a_face")

SCHEMA: Final[pa.Schema] = pa.schema(
    [
        ("sample_id", pa.string()),
        ("source", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("picture", pa.string()),
        ("framing", pa.string()),
        ("label", pa.string()),
        *((name, pa.int32()) for name in VOTE_COLUMNS),
        ("crop", pa.binary()),
    ]
)
"""One row a face.

- `picture`: SHA-256 of the decoded original pixels, so that a copy under another encoding has the same. Sets of older releases lack this
  column: `group` is used.
- `group`: unit that is never divided between splits: the identity where it is known, else `picture`.
- `framing`: how the face was aligned: `points` (detector and aligner), `own` (the set's average framing) or `raw` (not at all).
- `label` and votes: at least one is there.
- `crop`: a 112x112 PNG. In a raw set the original file; there `picture` is null and `group` is the identity or null.
"""

PICTURE_BYTES: Final = 64 * 2**20
"""Of one original file in a raw set."""

Kind = Literal["votes", "single"]
Row = dict[str, Any]
"""Values by the names of `SCHEMA`."""


def split_file(folder: Path, split: str) -> Path:
    """File of a split of a face set."""
    return folder / f"faces-{split}.parquet"
