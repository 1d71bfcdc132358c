"""`ferflow up`: Prefect's server with its pages, every deployment and its schedule, on this machine."""

import argparse
from typing import TYPE_CHECKING

from flows.answer import answer, tell

if TYPE_CHECKING:
    from flows.up import Up

HELP = """Starts Prefect's server with its pages and serves every flow, on this machine, until it is stopped with Ctrl-C.

  ferflow up --source ~/Photos --to ~/labels                        label what is new every night at 2:00
  ferflow up --source ~/Photos --to ~/labels --models ~/models      and retrain every week
  ferflow up --notify https://hooks.example/ferflow                 and tell somebody when a night went wrong
  ferflow up                                                        as it was; the pages change the rest

Deployments: label-collection/nightly, night-check/daily, relabel/by-hand, report/daily, housekeeping/weekly, retrain/weekly. The options
fill in their forms; a deployment whose form is complete runs on its schedule. Whatever was changed in the pages and is not given here
stays as it is."""

EPILOG = """History and settings are in Prefect's home (~/.prefect, or PREFECT_HOME): a restart keeps them, and goes on with runs that were
at work. Whoever reaches the address can start runs: the pages have no password. Nothing is sent anywhere but to
the address of --notify, which is kept as a secret."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "up",
        help="pages, schedules and all flows on this machine",
        description=HELP,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--source", metavar="SOURCE", help="photographs, as for: ferflow label")
    parser.add_argument("--to", metavar="ROOT", help="labels root")
    parser.add_argument("--models", metavar="MODELS", help="folder of models: its champion labels, retraining promotes in it")
    parser.add_argument("--timezone", metavar="TZ", help="of the schedules, such as Europe/Berlin (default: this machine's)")
    parser.add_argument(
        "--notify",
        metavar="URL",
        help="webhook (http, https) that is told of failed runs, many quarantined images and missing nights, or a notification block as "
        "TYPE/NAME; kept, so that it need be given once",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: %(default)s, this machine alone)")
    parser.add_argument("--port", type=int, default=4200, help="port to serve on, 0 for any that is free (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout once everything serves")
    parser.add_argument("--verbose", action="store_true", help="show what Prefect's server says, and tracebacks")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check what can be checked at once, then serve. Being stopped is how it ends well."""
    from flows.up import Address, keep_up  # noqa: PLC0415  (heavy imports come after parsing)
    from flows.up_begin import checked  # noqa: PLC0415

    wishes = checked(args.source, args.to, args.models, args.timezone, args.notify)

    def ready(up: "Up") -> None:
        lines = [f"Prefect's pages: {up.url}", *(f"  {name}" for name in up.deployments), "Ctrl-C stops it."]
        answer(args.json, {"url": up.url, "deployments": list(up.deployments), "timezone": wishes["timezone"]}, lines)

    try:
        keep_up(Address(args.host, args.port), wishes, ready, verbose=args.verbose)
    except KeyboardInterrupt:
        tell("stopped")
    return 0
