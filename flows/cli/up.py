"""`ferflow up`: Prefect's server with its pages, every deployment and its schedule, on this machine."""

import argparse
import sys
from typing import TYPE_CHECKING, Final

from flows.output import print_line, print_result

if TYPE_CHECKING:
    from flows.server.password import Password
    from flows.server.up import RunningServer

HELP = """Starts Prefect's server with its UI and serves every flow on this machine, until Ctrl-C.

  ferflow up --source ~/Photos --to ~/labels                        label what is new every night at 2:00
  ferflow up --source ~/Photos --to ~/labels --models ~/models      and retrain every week
  ferflow up --notify @webhook.txt                                  and post failures to the webhook in that file
  ferflow up                                                        with the stored settings; change them in the UI

Deployments: label-collection/nightly, night-check/daily, relabel/by-hand, forget/by-hand, report/daily, housekeeping/weekly,
retrain/weekly. The options fill in their forms; a deployment whose form is complete runs on its schedule. Values that were changed
in the UI and are not given here are kept."""

EPILOG = """History and settings are in Prefect's home (~/.prefect, or PREFECT_HOME): a restart keeps them, and resumes interrupted
runs. The UI requires a password, which the first start generates and stores there for you only (ferflow-password): anyone with the
password and access to the address can run code as you. Data is sent to the address of --notify only, which is kept secret."""

OPEN_TO_ALL: Final = "ferflow: --no-password: every user of this machine, and anyone with access to the address, can run code as you"


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "up",
        help="UI, schedules and all flows on this machine",
        description=HELP,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--source", metavar="SOURCE", help="photographs, as for: ferflow label")
    parser.add_argument("--to", metavar="ROOT", help="labels root")
    parser.add_argument(
        "--models", metavar="MODELS", help="folder of models: its champion is used for labelling, retraining promotes models in it"
    )
    parser.add_argument("--timezone", metavar="TZ", help="time zone of the schedules, such as Europe/Berlin (default: this machine's)")
    parser.add_argument(
        "--notify",
        metavar="@FILE",
        help="file with the address of a webhook (http, https) that reports failed runs, many quarantined images and missing runs; - "
        "reads it from standard input, $FERFLOW_NOTIFY holds it as well; or a notification block as TYPE/NAME; kept, so that it need be "
        "given once",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: %(default)s, this machine alone)")
    parser.add_argument("--port", type=int, default=4200, help="port to serve on, 0 for any that is free (default: %(default)s)")
    access = parser.add_argument_group("access")
    access.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="also accept this host name (NAME or NAME:PORT), as behind a reverse proxy; others are refused. Repeatable",
    )
    access.add_argument(
        "--allow-cluster",
        metavar="ADDRESS",
        action="append",
        default=[],
        help="cluster that a run may name although its deployment does not: tcp://host:port, tls://host:port, slurm or kubernetes; it "
        "decides what code runs. Repeatable",
    )
    access.add_argument("--no-password", action="store_true", help="disable the password: every user of this machine has access")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout once everything serves")
    parser.add_argument("--verbose", action="store_true", help="show log lines of Prefect's server, and tracebacks")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check what can be checked at once, then serve until a stop, which is a success."""
    from flows.server.up import Address, run_server
    from flows.server.up_setup import validated_access, validated_options

    access = validated_access(args.allow_host, args.allow_cluster, password=not args.no_password)
    options = validated_options(args.source, args.to, args.models, args.timezone, args.notify)
    if args.no_password:
        print_line(OPEN_TO_ALL)

    def ready(up: "RunningServer") -> None:
        lines = [f"Prefect's pages: {up.url}", *_way_in(up.url, up.password), *(f"  {name}" for name in up.deployments), "Ctrl-C stops it."]
        kept = str(up.password.file) if up.password and up.password.file else None
        said = {"url": up.url, "deployments": list(up.deployments), "timezone": options["timezone"], "password_file": kept}
        print_result(args.json, said, lines)

    try:
        run_server(Address(args.host, args.port), options, access, ready, verbose=args.verbose)
    except KeyboardInterrupt:
        print_line("stopped")
    return 0


def _way_in(url: str, password: "Password | None") -> list[str]:
    """Lines with the file of the password. The password itself is shown once, on a terminal only: the output of a service goes to a log."""
    from flows.server.login import login_url

    if password is None:
        return []
    if password.file is None:
        return ["Password: as PREFECT_SERVER_API_AUTH_STRING has it"]
    if password.is_new and sys.stdout.isatty():
        return [
            f"To log in, open once: {login_url(url, password.text)}",
            f"Password: {password.text} (not shown again; in {password.file})",
        ]
    return [f"Password: in {password.file}"]
