"""The current label of each face, across runs and models: a view over the tables in SQL that DuckDB, Spark, DataFusion and Polars share."""

from typing import Final

from fer_core.store import Store

CURRENT: Final = """\
SELECT labels.*
FROM labels
JOIN (
  SELECT image_uri, run_id, row_number() OVER (PARTITION BY image_uri ORDER BY seen_at DESC, run_id DESC) AS age
  FROM images
  WHERE status <> 'missing' AND (status <> 'unreadable' OR image_sha256 IS NOT NULL)
) AS answers USING (image_uri, run_id)
WHERE answers.age = 1"""
"""The rows of `labels` that the newest answer for their image stands for.

An image's newest answer is its row in `images` of the run planned last; of two runs planned in the same microsecond, of the one whose id
sorts last. Rows that answer nothing are passed over: the storage did not answer, the file was not there, or permission was denied. They
are those that the next night tries again (`ledger`), and until it succeeds the earlier labels stand. Every other status is an answer: a
picture in which no face is found any more, or that has become unreadable, has no current labels.
"""

_RESERVED: Final = str.maketrans({"*": "[*]", "?": "[?]", "[": "[[]", "'": "''"})


def views(store: Store) -> str:
    """The statements that give DuckDB the views `labels`, `images` and `current` of a root. They read it anew whenever they are asked."""
    return "\n".join([*(_table(store, name) for name in ("labels", "images")), f"CREATE OR REPLACE VIEW current AS\n{CURRENT};"])


def _table(store: Store, name: str) -> str:
    parts = f"{store.url(name).translate(_RESERVED)}/*/*/*.parquet"
    return f"CREATE OR REPLACE VIEW {name} AS FROM read_parquet('{parts}', hive_partitioning = true);"
