"""The current label of each face, across runs and models: a view over the tables in SQL that DuckDB, Spark, DataFusion and Polars share."""

from typing import Final

from fer_core.errors import StoreError
from fer_core.storage.store import Store
from fer_core.tables.schema import ADDED, SCHEMAS
from fer_core.text import is_invisible, pieces

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
are those that the next night tries again (`incremental`), and until it succeeds the earlier labels stand. Every other status is an answer:
a picture in which no face is found any more, or that has become unreadable, has no current labels.
"""

_PATTERNS: Final = str.maketrans({"*": "[*]", "?": "[?]", "[": "[[]"})
"""DuckDB's pattern characters, each as a pattern that matches itself: DuckDB supports neither a backslash nor braces for that."""


def views(store: Store) -> str:
    """The statements that give DuckDB the views `labels`, `images` and `current` of a root. Each query reads the root anew.

    Of a folder with a backslash in its path they read the files that are there now, since DuckDB's patterns pass over such names.
    StoreError where the path is not UTF-8, which DuckDB cannot name.
    """
    tables = (f"CREATE OR REPLACE VIEW {name} AS FROM {relation(store, name)}{_added(name)};" for name in ("labels", "images"))
    return "\n".join([*tables, f"CREATE OR REPLACE VIEW current AS\n{CURRENT};"])


def relation(store: Store, table: str) -> str:
    """A table of a root as DuckDB's SQL names it after FROM: its columns, `run` and `run_date`. StoreError as for `views`.

    Parts of several releases are read by their columns' names, without a column that only later releases write where none of them did.
    """
    url = store.url(table)
    parts = f"{url.translate(_PATTERNS)}/*/*/*.parquet"
    files = store.list_files(table) if store.local and "\\" in url else []
    if not files and "=" not in url:
        return f"read_parquet({_literal(parts)}, hive_partitioning = true, union_by_name = true)"
    # DuckDB takes `name=value` anywhere in a path for a column, even in the place of one that the file has.
    named = "[" + ", ".join(_literal(store.url(file)) for file in files if file.endswith(".parquet")) + "]" if files else _literal(parts)
    run, day = (f"regexp_extract(filename, '{where}', 1)" for where in (r"/run=([^/]*)/[^/]*$", r"/run_date=([^/]*)/[^/]*/[^/]*$"))
    read = f"read_parquet({named}, hive_partitioning = false, filename = true, union_by_name = true)"
    return f"(SELECT * EXCLUDE (filename), {run} AS run, {day}::DATE AS run_date FROM {read})"


def _added(table: str) -> str:
    """What gives a table the columns that none of its parts has, if earlier releases wrote them all."""
    fields = ", ".join(f"NULL::{field.type} AS {field.name}" for field in SCHEMAS[table] if field.name in ADDED)
    return f" UNION ALL BY NAME SELECT {fields} WHERE false" if fields else ""


def _literal(text: str) -> str:
    """A string of SQL. Characters that must not reach a terminal are named by their numbers, so that it can be printed and pasted."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"DuckDB cannot name a path that is not UTF-8: {text}") from error
    return " || ".join(f"chr({ord(piece)})" if is_invisible(piece) else "'" + piece.replace("'", "''") + "'" for piece in pieces(text))
