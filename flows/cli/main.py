"""The `ferflow` command. Assembles the commands, one module each, and turns errors into one line and an exit code.

`entry` calls it. Started with `-m`, as by torchrun, it is the main module, which worker processes import: it must stay light.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, NoReturn

import flows.cli.started  # noqa: F401  (notes the time)
from fer_core.isolation import isolate_command
from fer_core.storage.file_mode import private_process
from fer_core.text import visible
from flows.cli.option_types import GivenOnce
from flows.cli.standard_streams import guard
from flows.cli.utf8_mode import restart_in_utf8_mode
from tasks.execution import signals

COMMANDS: Final = (
    "label",
    "relabel",
    "verify",
    "discard",
    "find",
    "forget",
    "policy",
    "gallery",
    "export",
    "query",
    "report",
    "review",
    "detectors",
    "dataset",
    "train",
    "retrain",
    "evaluate",
    "models",
    "up",
)
"""Each `flows.cli.<name>` with `add_parser(subparsers)`, which sets `run(args) -> int` as the parser's default."""


GONE: Final = {
    "compact": "ferflow compact was removed: each run publishes files of up to 128 MB; `ferflow export current` writes older ones as one"
}
"""Commands of earlier releases, and what replaces each."""

HELP: Final = """Turns a photo collection into facial-expression labels in Parquet.

  ferflow label ~/Photos --to ~/labels          label every face below a folder
  ferflow label ~/Photos --to ~/labels          again: reads only new and changed images
  ferflow gallery ~/labels --to gallery.html    show the labelled photographs
  ferflow review export ~/labels --to review    a page with the faces that most need review
  ferflow export current ~/labels --to newest   the newest label of each face as one file
  ferflow query ~/labels "FROM current"         ask the tables in SQL
  ferflow verify ~/labels                       check that every committed row is present and intact
  ferflow discard ~/labels RUN                  remove what an interrupted run left, crops included
  ferflow find ~/labels --image FILE            every place that names an image
  ferflow forget ~/labels --image FILE          remove it from every table, and deny it to later runs
  ferflow relabel ~/labels --model DIR          new labels for kept faces, without the photographs

Labels name the apparent expression in a picture, not what a person feels."""

EPILOG: Final = """Every command takes --json: one JSON object on standard output, everything else on standard error.
Exit codes: 0 success, 1 failure with one line of explanation, 2 wrong use.
`ferflow COMMAND --help` shows the options and examples of a command."""


class Parser(argparse.ArgumentParser):
    """Reports wrong use in one line, single options that are given twice included."""

    def register(self, registry_name: str, value: Any, object: Any) -> None:  # noqa: ANN401  (as argparse calls it)
        """What argparse registers, with its own action for single options replaced."""
        super().register(registry_name, value, GivenOnce if registry_name == "action" and value in (None, "store") else object)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401  (as argparse overloads it)
        """As argparse, but a command refuses an unknown option itself, so that the message names its help."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Exit code 2."""
        self.exit(2, f"ferflow: {visible(message)} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if arguments is None:
        restart_in_utf8_mode()
        guard()
        isolate_command()
    given = list(sys.argv[1:] if arguments is None else arguments)
    args = argparse.Namespace()
    private_process()
    try:
        signals.listen()
        args = _parser(given).parse_args(given)
        code: int = args.run(args)
    except KeyboardInterrupt:
        code = _fail(args, "interrupted", 1)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever it was; --verbose shows where it came from
        if getattr(args, "verbose", False):
            import traceback

            from flows.output import print_lines

            print_lines(traceback.format_exc())
        code = _fail(args, *_told(error, verbose_exists=hasattr(args, "verbose")))
    return code


def _parser(given: Sequence[str]) -> Parser:
    gone = GONE.get(given[0]) if given else None
    if gone is not None:
        from fer_core.errors import UsageError

        raise UsageError(gone)
    parser = Parser(prog="ferflow", description=HELP, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=_version())
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    named = [name for name in COMMANDS if name in given[:1]]
    for name in named or COMMANDS:
        import_module(f"flows.cli.{name}").add_parser(subparsers)
    return parser


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"ferflow {version('ferflow')}"
    except PackageNotFoundError:
        return "ferflow (not installed)"


def _told(error: Exception, *, verbose_exists: bool) -> tuple[str, int]:
    """Sentence and exit code."""
    from fer_core.errors import FerflowError, UsageError

    if isinstance(error, FerflowError):
        return " ".join(str(error).split()), 2 if isinstance(error, UsageError) else 1
    text = " ".join(str(error).split())[:300]
    hint = "; --verbose shows where it happened" if verbose_exists else ""
    return f"unexpected {type(error).__name__}: {text}{hint}", 1


def _fail(args: argparse.Namespace, sentence: str, code: int) -> int:
    from flows.output import print_failure

    print_failure(getattr(args, "json", False), sentence)
    return code


if __name__ == "__main__":
    sys.exit(main())
