"""`ferflow query`: SQL over the committed runs of a root."""

import argparse
import os
from typing import TYPE_CHECKING, Final

from flows.output import print_line, print_result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyarrow import RecordBatch, RecordBatchReader

    from fer_core.query.session import QuerySession
    from fer_core.storage.store import Store

SHOWN_ROWS: Final = 1_000
"""Of a table at the prompt."""
FORMAT_OF_ENDING: Final = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".txt": "table", "": "table"}
"""Of the file that --to names."""

HELP = """Asks the committed runs of a labels root in SQL (DuckDB's).

  ferflow query ~/labels "SELECT expression, count(*) AS faces FROM current WHERE NOT needs_review GROUP BY ALL ORDER BY faces DESC"
  ferflow query ~/labels "FROM images WHERE status = 'unreadable'" --format csv
  ferflow query ~/labels "FROM current" --to newest.parquet
  ferflow query ~/labels                                     a prompt with history and completion, on a terminal

Views: labels (a row a face and run), images (a row an image and run), current (the newest label of each face), runs, reviews, models.
DESCRIBE current lists columns; docs/guides/queries.md has questions to start from. A query reads: it reaches no file, no network and no
setting, and takes at most 1 GB of memory."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "query", help="ask the tables in SQL", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", metavar="ROOT", help="labels root")
    parser.add_argument("sql", metavar="SQL", nargs="?", help="one query; without it, a prompt on a terminal")
    parser.add_argument(
        "--format", choices=("table", "csv", "json", "parquet"), help="default: by the ending of --to, else a table; parquet needs --to"
    )
    parser.add_argument("--to", metavar="FILE", help="file for the result, outside of ROOT; an existing file is replaced")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the query and print or write its result. Needs no Prefect server."""
    from fer_core.errors import UsageError
    from flows.cli.query_prompt import on_terminal

    sql = (args.sql or "").strip()
    if not sql and (args.sql is not None or args.to is not None or args.json or not on_terminal()):
        raise UsageError('no query: ferflow query ROOT "SELECT expression, count(*) FROM current GROUP BY expression"')
    kind = args.format or _of_name(args.to)
    if kind == "parquet" and args.to is None:
        raise UsageError("Parquet is no text: name a file with --to")
    from fer_core.query.session import open_session
    from fer_core.storage.store import open_store

    store = open_store(args.root)
    with open_session(store) as session:
        if not sql:
            _prompt(session, kind)
        elif args.to is not None:
            return _write(args, kind, store, session.run(sql))
        else:
            _print(args.json, kind, session.run(sql))
    return 0


def _prompt(session: "QuerySession", kind: str) -> None:
    from fer_core.query.session import VIEWS
    from flows.cli.query_prompt import ask

    def answer(sql: str) -> None:
        reader = session.run(sql)
        if kind == "table":
            _print_first(reader)
        else:
            _print(False, kind, reader)

    print_line(f"Views: {', '.join(VIEWS)}. A query ends with ; or an empty line. Ctrl-C ends a query, Ctrl-D leaves.")
    ask([*VIEWS, *session.columns()], answer)


def _print_first(reader: "RecordBatchReader") -> None:
    import pyarrow as pa

    from fer_core.query.session import rows
    from flows.cli.query_result import table_lines

    found: list[RecordBatch] = []
    count = 0
    for batch in rows(reader):
        found.append(batch)
        count += batch.num_rows
        if count > SHOWN_ROWS:
            break
    shown = pa.Table.from_batches(found, reader.schema).slice(0, SHOWN_ROWS)
    print_result(False, {}, table_lines(reader.schema.names, shown.to_batches()))
    if count > SHOWN_ROWS:
        print_line("there are more rows: add LIMIT, or write them all with --to FILE")


def _of_name(file: str | None) -> str:
    ending = "" if file is None else os.path.splitext(file)[1].lower()
    if ending not in FORMAT_OF_ENDING:
        from fer_core.errors import UsageError

        raise UsageError(f"no format belongs to {ending}: end --to in .csv, .json, .parquet or .txt, or name one with --format")
    return FORMAT_OF_ENDING[ending]


def _print(as_json: bool, kind: str, reader: "RecordBatchReader") -> None:
    from fer_core.query.session import rows
    from flows.cli.query_result import csv_text, json_lines, records, table_lines

    names = reader.schema.names
    if as_json:
        data = list(records(rows(reader)))
        print_result(True, {"columns": names, "rows": len(data), "data": data}, "")
    elif kind == "table":
        print_result(False, {}, table_lines(names, rows(reader)))
    elif kind == "json":
        for line in json_lines(rows(reader)):
            print_result(False, {}, line)
    else:
        for text in csv_text(reader.schema, rows(reader)):
            print_result(False, {}, text.decode().removesuffix("\n").split("\n"))


def _write(args: argparse.Namespace, kind: str, store: "Store", reader: "RecordBatchReader") -> int:
    from fer_core.query.session import rows
    from fer_core.storage.output_place import file_place, refuse_inside
    from flows.cli.query_result import csv_text, json_lines, table_lines

    target, name = file_place(args.to)
    refuse_inside(target, store, f"the target {target.url()} lies")
    count = 0

    def counted() -> "Iterator[RecordBatch]":
        nonlocal count
        for batch in rows(reader):
            count += batch.num_rows
            yield batch

    with target.replacing(name) as file, open(file, "wb") as stream:
        if kind == "parquet":
            import pyarrow.parquet as pq

            with pq.ParquetWriter(stream, reader.schema, compression="zstd") as out:
                for batch in counted():
                    out.write_batch(batch)
        elif kind == "csv":
            stream.writelines(csv_text(reader.schema, counted()))
        else:
            lines = json_lines(counted()) if kind == "json" else table_lines(reader.schema.names, counted())
            stream.writelines(f"{line}\n".encode(errors="backslashreplace") for line in lines)
    found = {"columns": reader.schema.names, "rows": count, "file": target.url(name)}
    print_result(args.json, found, f"wrote {target.url(name)}: {count:,} rows")
    return 0
