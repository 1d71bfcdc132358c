"""The data dictionary: the meaning of each column of each table, generated from the schemas so that it cannot differ from them.

python -m fer_core.tables.data_dictionary docs/reference/data-dictionary.md
"""

import sys
from pathlib import Path
from typing import Final

import pyarrow as pa

from fer_core.labels import EXPRESSIONS
from fer_core.quality_thresholds import QualityRule
from fer_core.tables.schema import ADDED, FACES, IMAGES, LABELS, SCHEMA_VERSION

_RULE: Final = QualityRule()
_REVIEW: Final = (
    "`needs_review` marks a row, it never drops one. It is set where the model's own rule on confidence and entropy says so (see its\n"
    f"card), or where the face shows too little: `face_size_px` below {_RULE.face_size_px:g}, `sharpness` below {_RULE.sharpness:.2f}, "
    f"`yaw_deg` beyond {_RULE.yaw_deg:g} to\neither side, or exposure below {_RULE.exposure:.2f}. Exposure is the share of the inner face "
    "that is neither crushed to black nor\nblown out to white; it has no column."
)

TABLES: Final = (
    (
        "labels",
        LABELS,
        "One row a face. Sorted by `image_uri` and `face_index`; (`run_id`, `image_uri`, `face_index`) is unique.\n\n" + _REVIEW,
    ),
    (
        "images",
        IMAGES,
        "One row an image that a run processed, whatever became of it. Sorted by `image_uri`; (`run_id`, `image_uri`) is unique.",
    ),
    ("faces", FACES, "One row an aligned face. Written only with `--keep-crops`: these are biometric data."),
)

_HEAD: Final = f"""# Data dictionary

Schema version {SCHEMA_VERSION}. Written from `fer_core/tables/schema.py` by `make docs`; change it there.

Under the labels root, `<table>/run_date=YYYY-MM-DD/run=<id>/part-*.parquet`. `run_date` and `run` stand in the path only, `run_id` in the
files only. `run_date` is the day on which the run was planned in the time zone of `--timezone`, else of `ferflow up`, else of the machine;
the manifest names it (`timezone`). Runs of earlier releases have the day in UTC.

Every column may be null and keeps its field id for ever. Files are compressed with zstd; their key-value metadata `fer.*` name the schema
version, run, pipeline, model, detector and purpose.

Files that earlier releases wrote lack the columns that came later ({", ".join(f"`{name}`" for name in sorted(ADDED))}), which means null.
[queries.md](../guides/queries.md#files-of-several-releases) says how to read files of several releases together.

Within a run no face appears twice. Across runs (a changed image, `--force`, another pipeline) the newest label of each face is the view
`current`, which [queries.md](../guides/queries.md) shows and `ferflow export current` writes as one file with the columns of `labels`.

Expressions, in the order of every vector and tie-break: {", ".join(EXPRESSIONS)}.
They name what a face appears to express, not what a person feels.
"""


def data_dictionary() -> str:
    """The whole document, Markdown."""
    return _HEAD + "".join(f"\n## `{name}`\n\n{text}\n\n{_columns(schema)}" for name, schema, text in TABLES)


def _columns(schema: pa.Schema) -> str:
    lines = ["| id | column | type | meaning |", "|---|---|---|---|"]
    lines += [
        f"| {_told(field, 'PARQUET:field_id')} | `{field.name}` | {_kind(field.type)} | {_told(field, 'description')} |" for field in schema
    ]
    return "\n".join(lines) + "\n"


def _kind(kind: pa.DataType) -> str:
    """The name as the schema's code has it: Arrow's own name of float32 omits its width."""
    return "float32" if kind == pa.float32() else str(kind)


def _told(field: pa.Field, key: str) -> str:
    """One entry of a field's metadata."""
    value: bytes = field.metadata[key.encode()]
    return value.decode().replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(data_dictionary(), "utf-8")
