"""`ferflow forget`: removes an image or a face from a labels root, and denies it to later runs."""

import argparse
import shlex
from typing import TYPE_CHECKING

from flows.cli.named_image import add_named_image
from flows.cli.option_types import typed_path
from flows.output import print_result

if TYPE_CHECKING:
    from fer_core.erasure.audit import AuditRecord
    from fer_core.erasure.outputs import HeldOutput
    from fer_core.erasure.request import Request
    from fer_core.storage.store import Store

HELP = """Removes everything that names an image or a face from a labels root: labels, images and kept crops of every run, plans,
reviews, and what interrupted runs have staged. Copies of an image under other names go too. Later runs do not label it again.

  ferflow forget ~/labels --image ~/Photos/2024/party.jpg --reason 'request 17' --dry-run
  ferflow forget ~/labels --image ~/Photos/2024/party.jpg --reason 'request 17'
  ferflow forget ~/labels --face FACE_ID        one face; other faces of the image stay
  ferflow forget ~/labels --list requests.txt   an address or a digest a line
  ferflow forget ~/labels --image ~/Photos/2024/party.jpg --undo
  ferflow forget ~/labels --everywhere          list what was written from the root elsewhere and holds forgotten images
  ferflow forget ~/labels --everywhere --yes    remove them there: tables and face sets are rewritten, pages deleted

The command holds the lease of the root. After an interruption the same command finishes the removal. It keeps an audit record without
names, and a list of keyed digests. It does not remove the photograph itself, back-ups, results of queries, and what earlier releases wrote
outside of the root. Models that learned from a forgotten face are named, with the command that trains one without it."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "forget",
        help="remove an image or a face from a labels root",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = add_named_image(parser)
    which.required = False  # of --everywhere
    which.add_argument("--face", metavar="FACE_ID", help="face_id of one face, as the tables have it")
    which.add_argument("--list", metavar="FILE", type=typed_path, help="text file with an address or a digest a line")
    parser.add_argument("--reason", metavar="TEXT", default="", help="kept in the audit record; name no person here")
    outputs = "also list galleries, review pages, exports, face sets and models made from the root that hold forgotten images"
    parser.add_argument("--everywhere", action="store_true", help=outputs)
    parser.add_argument("--yes", action="store_true", help="with --everywhere: remove what they hold")
    parser.add_argument("--undo", action="store_true", help="allow it to later runs again; name it as it was named, or by its file")
    parser.add_argument("--dry-run", action="store_true", help="count what would be removed; change nothing")
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object on stdout: root, dry_run, rows, runs, audit, delta, with --everywhere outputs; of --undo root, lifted, audit",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Under the root's lease."""
    from dataclasses import asdict

    from fer_core.commit.lease import lease
    from fer_core.erasure.audit import AuditRecord, current_user
    from fer_core.erasure.forget import find, forget
    from fer_core.erasure.outputs import HeldOutput, forget_outputs, outputs_of
    from fer_core.erasure.request import request_of
    from fer_core.errors import StoreError
    from fer_core.storage.paths import META
    from fer_core.storage.store import open_store

    _check(args)
    store, request = open_store(args.root), request_of(args.image, args.sha256, args.face, args.list)
    if not store.list_files(META):  # before a lease is written, which would create a mistyped root
        raise StoreError(f"there is no run in {store.url()}")
    record: AuditRecord | None
    outputs: list[HeldOutput] = []
    if args.undo:
        return _undo(args, store, request)
    args.dry_run = args.dry_run or not (any(request.asked.values()) or args.yes)  # to list outputs changes nothing
    if args.dry_run:
        found = find(store, request)
        record = AuditRecord.new("", "", request.asked, found.places)
        outputs = outputs_of(store, found.named) if args.everywhere else []
    else:
        with lease(store, "forgetting images") as held:
            record = forget(store, request, current_user(), args.reason, held.check)
            if args.yes:
                outputs = forget_outputs(store, current_user(), args.reason, held.check)
            elif args.everywhere:
                outputs = outputs_of(store)
    value, lines = _told(args, store, record)
    if args.everywhere:
        value["outputs"] = [asdict(output) for output in outputs]
        lines += _outputs_told(store, outputs, removed=args.yes)
    print_result(args.json, value, lines)
    return 0


def _check(args: argparse.Namespace) -> None:
    from fer_core.errors import UsageError

    if not (args.image or args.sha256 or args.face or args.list or args.everywhere):
        raise UsageError("name what is to be forgotten: --image, --sha256, --face or --list")
    if args.yes and (args.dry_run or not args.everywhere):
        raise UsageError("--yes is for --everywhere, and not for --dry-run")
    if args.undo and args.everywhere:
        raise UsageError("--undo does not restore what was removed elsewhere: leave out --everywhere")


def _told(args: argparse.Namespace, store: "Store", record: "AuditRecord | None") -> tuple[dict[str, object], list[str]]:
    """Of the root itself."""
    rows, tables = ({}, {}) if record is None else (record.rows, record.delta)
    audit = None if record is None or args.dry_run else store.url(record.path)
    runs = 0 if record is None else record.runs
    value = {"root": store.url(), "dry_run": args.dry_run, "rows": rows, "runs": runs, "audit": audit, "delta": tables}
    if record is None:
        named = args.image or args.sha256 or args.face or args.list
        return value, [f"nothing in {store.url()} names it, and it is denied to later runs already"] if named else []
    lines = [f"{count:>7,}  {kind}" for kind, count in rows.items()]
    lines += [f"{sum(rows.values()):,} rows {'would be removed' if args.dry_run else 'removed'} from {runs:,} runs of {store.url()}"]
    if not rows and not args.dry_run:
        lines += ["nothing named it; it is denied to later runs"]
    lines += [f"Delta table {table}: {state}" for table, state in tables.items()]
    return value, [*lines, *([f"audit     {audit}"] if audit else [])]


def _outputs_told(store: "Store", outputs: "list[HeldOutput]", *, removed: bool) -> list[str]:
    if not outputs:
        return ["no registered output holds what was forgotten"]
    lines = [output.line for output in outputs]
    if not removed and any(output.state == "holds" for output in outputs):
        lines.append(f"to remove it from them: ferflow forget {shlex.quote(store.url())} --everywhere --yes")
    return lines


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
