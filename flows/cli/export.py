"""`ferflow export`: the labels in other formats."""

import argparse

from flows.output import print_result, print_unregistered

RAW = argparse.RawDescriptionHelpFormatter
CURRENT = """Writes the newest label of each face, across all committed runs and models, as one file, sorted by image. It has the columns of
the labels table. An earlier export in the same place is replaced in one step; a place that holds anything else is refused.

  ferflow export current ~/labels --to ~/current          the folder ~/current with current.parquet
  ferflow export current ~/labels --to ~/current.csv      that file; .parquet and .arrow too
  ferflow export current ~/labels --sql > current.sql     the same as a view over the tables, for DuckDB

An image that could not be read the last time keeps its earlier labels; so does one that is no longer in the collection."""
DELTA = """Registers the committed parts of a table as a Delta table, one version a run, without rewriting or moving them. Only what is
new since the last time is added. The Delta table is ROOT/_meta/delta/TABLE; read it with DeltaTable(...).scan(), do not write to it.

  ferflow export delta ~/labels

Needs the package deltalake: pip install 'ferflow[delta]'."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    group = subparsers.add_parser("export", help="the newest label of each face as one file, or a Delta table")
    inner = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    parser = inner.add_parser("current", help="the newest label of each face as one file", description=CURRENT, formatter_class=RAW)
    parser.add_argument("root", metavar="ROOT", help="labels root")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--to", metavar="FILE|FOLDER|URL", help="a file by its ending (.csv, .parquet, .arrow), else a folder; new or an earlier export"
    )
    what.add_argument("--sql", action="store_true", help="write nothing, print DuckDB's views instead")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=run_current)
    parser = inner.add_parser("delta", help="register the tables' files as a Delta table", description=DELTA, formatter_class=RAW)
    parser.add_argument("root", metavar="ROOT", help="labels root")
    parser.add_argument("--table", choices=("labels", "images"), default="labels", help="default: labels")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=run_delta)


def run_current(args: argparse.Namespace) -> int:
    """Write the file, or print the views."""
    from dataclasses import asdict

    from fer_core.export.current_view import views
    from fer_core.storage.store import open_store

    store = open_store(args.root)
    if args.sql:
        print_result(args.json, {"sql": views(store)}, views(store).split("\n"))
        return 0
    from fer_core.export.current_file import export_current, export_target
    from flows.cli.stage_progress import StageProgress

    with StageProgress() as progress:
        progress("reading the tables")
        target, name = export_target(args.to)
        found = export_current(store, target, progress, name=name)
    lines = [f"wrote {found.file}: {found.faces:,} faces in {found.images:,} images, from {found.runs:,} runs"]
    if found.deleted:
        lines.append(f"{found.deleted:,} images are no longer in the collection; their last labels, if any, are kept")
    print_unregistered(store, found.file)
    print_result(args.json, asdict(found), lines)
    return 0


def run_delta(args: argparse.Namespace) -> int:
    """Register, then print a summary."""
    from dataclasses import asdict

    from fer_core.export.delta import register
    from fer_core.storage.store import open_store

    found = register(open_store(args.root), args.table)
    news = f"{len(found.runs):,} new runs" if len(found.runs) != 1 else "1 new run"
    print_result(args.json, asdict(found), f"{found.table} is at version {found.version}: {news}, {found.parts:,} files")
    return 0
