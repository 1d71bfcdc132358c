"""`ferflow forget`: removes an image or a face from a labels root, and denies it to later runs."""

import argparse
from typing import TYPE_CHECKING

from flows.cli.named_image import add_named_image
from flows.cli.option_types import typed_path
from flows.output import print_result

if TYPE_CHECKING:
    from fer_core.erasure.request import Request
    from fer_core.storage.store import Store

HELP = """Removes everything that names an image or a face from a labels root: labels, images and kept crops of every run, plans,
reviews, and what interrupted runs have staged. Copies of an image under other names go too. Later runs do not label it again.

  ferflow forget ~/labels --image ~/Photos/2024/party.jpg --reason 'request 17' --dry-run
  ferflow forget ~/labels --image ~/Photos/2024/party.jpg --reason 'request 17'
  ferflow forget ~/labels --face FACE_ID        one face; other faces of the image stay
  ferflow forget ~/labels --list requests.txt   an address or a digest a line
  ferflow forget ~/labels --image ~/Photos/2024/party.jpg --undo

The command holds the lease of the root. After an interruption the same command finishes the removal. It keeps an audit record without
names, and a list of keyed digests. It does not remove the photograph itself, nor galleries, reports, exports, face sets and back-ups."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "forget",
        help="remove an image or a face from a labels root",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = add_named_image(parser)
    which.add_argument("--face", metavar="FACE_ID", help="face_id of one face, as the tables have it")
    which.add_argument("--list", metavar="FILE", type=typed_path, help="text file with an address or a digest a line")
    parser.add_argument("--reason", metavar="TEXT", default="", help="kept in the audit record; name no person here")
    parser.add_argument("--undo", action="store_true", help="allow it to later runs again; name it as it was named, or by its file")
    parser.add_argument("--dry-run", action="store_true", help="count what would be removed; change nothing")
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object on stdout: root, dry_run, rows, runs, audit, delta; of --undo root, lifted, audit",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Under the root's lease."""
    from fer_core.commit.lease import lease
    from fer_core.erasure.audit import AuditRecord, current_user
    from fer_core.erasure.forget import find, forget
    from fer_core.erasure.request import request_of
    from fer_core.errors import StoreError
    from fer_core.storage.paths import META
    from fer_core.storage.store import open_store

    store, request = open_store(args.root), request_of(args.image, args.sha256, args.face, args.list)
    if not store.list_files(META):  # before a lease is written, which would create a mistyped root
        raise StoreError(f"there is no run in {store.url()}")
    record: AuditRecord | None
    if args.undo:
        return _undo(args, store, request)
    if args.dry_run:
        record = AuditRecord.new("", "", request.asked, find(store, request).places)
    else:
        with lease(store, "forgetting images") as held:
            record = forget(store, request, current_user(), args.reason, held.check)
    rows = {} if record is None else record.rows
    audit = None if record is None or args.dry_run else store.url(record.path)
    value = {"root": store.url(), "dry_run": args.dry_run, "rows": rows, "runs": 0 if record is None else record.runs, "audit": audit}
    done = "would be removed" if args.dry_run else "removed"
    lines = [f"{count:>7,}  {kind}" for kind, count in rows.items()]
    lines += [f"{sum(rows.values()):,} rows {done} from {value['runs']:,} runs of {store.url()}"]
    if record is None:
        lines = [f"nothing in {store.url()} names it, and it is denied to later runs already"]
    elif not rows and not args.dry_run:
        lines += ["nothing named it; it is denied to later runs"]
    tables = {} if record is None else record.delta
    lines += [f"Delta table {table}: {state}" for table, state in tables.items()]
    print_result(args.json, {**value, "delta": tables}, [*lines, *([f"audit     {audit}"] if audit else [])])
    return 0


def _undo(args: argparse.Namespace, store: "Store", request: "Request") -> int:
    from dataclasses import replace

    from fer_core.commit.lease import lease
    from fer_core.erasure.audit import current_user
    from fer_core.erasure.forget import undo
    from fer_core.erasure.named import content_at
    from fer_core.errors import UsageError

    if args.dry_run:
        raise UsageError("--undo changes the deny list at once: leave out --dry-run")
    contents = [found for uri in request.uris if (found := content_at(uri)) is not None]
    with lease(store, "allowing forgotten images") as held:
        record = undo(store, replace(request, contents=[*request.contents, *contents]), current_user(), args.reason, held.check)
    value = {"root": store.url(), "lifted": record.lifted, "audit": store.url(record.path)}
    told = ", ".join(f"{count} {name}" for name, count in record.lifted.items())
    print_result(args.json, value, [f"allowed again: {told}; the next run labels what it lists", f"audit     {value['audit']}"])
    return 0
