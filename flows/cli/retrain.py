"""`ferflow retrain`: trains a challenger on face sets and reviewed faces, and promotes it if it is better."""

import argparse
from contextlib import ExitStack
from typing import TYPE_CHECKING

from flows.output import print_result

if TYPE_CHECKING:
    from flows.retrain_params import RetrainParams
    from tasks.artifacts.retrain import Outcome

HELP = """Trains a challenger, compares it with the champion on held-out faces, and promotes it if every bound of the
gate holds. `ferflow label --model MODELS` labels with the champion of that folder from then on.

  ferflow retrain MODELS --faceset ferplus                            tune the champion on a face set
  ferflow retrain MODELS --faceset ferplus --reviewed ~/labels        ... and on reviewed faces, which take precedence
  ferflow retrain MODELS --reviewed ~/labels                          on reviewed faces alone
  ferflow retrain MODELS --reviewed ~/labels --tune head              fit class centers to a hundred of them, in seconds
  ferflow retrain MODELS --faceset ferplus --start 'from random weights' --epochs 30 --learning-rate 0.05

A challenger that fails is kept in MODELS with its verdict (verdict.json, verdict.md)."""

EPILOG = """The same command resumes an interrupted training. The flow `retrain` in the Prefect UI does the same.
Exit codes: 0 compared, promoted or not (see "promoted" in --json); 1 failed; 2 wrong use."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "retrain",
        help="train a challenger, promote it if it is better",
        description=HELP,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", metavar="MODELS", help="folder of models")
    parser.add_argument(
        "--faceset", metavar="FACESET", action="append", default=[], help="base face set; the first one is for the comparison"
    )
    parser.add_argument("--reviewed", metavar="ROOT", help="labels root with imported reviews")
    parser.add_argument("--start", choices=("from champion", "from random weights"), help="default: from champion")
    tune = "what learns: the whole network, or class centers and bias alone, for one collection (default: all)"
    parser.add_argument("--tune", choices=("all", "head"), help=tune)
    parser.add_argument("--epochs", metavar="N", type=int, help="passes over the training faces (default: 8)")
    parser.add_argument("--batch", metavar="N", type=int, help="faces a step (default: 128)")
    parser.add_argument("--learning-rate", metavar="R", type=float, help="highest learning rate (default: 0.01)")
    parser.add_argument("--seed", metavar="N", type=int, help="makes the run repeatable on one device (default: 0)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where training runs (default: auto)")
    parser.add_argument("--protocol", choices=("majority", "argmax"), help="protocol of the comparison (default: majority)")
    bound = "another bound of the gate, such as accuracy=-0.01 (macro_f1, recall, support, calibration, robustness, speed)"
    parser.add_argument("--bound", metavar="NAME=VALUE", action="append", default=[], help=bound)
    parser.add_argument("--keep", action="store_true", help="compare only, never promote")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--verbose", action="store_true", help="show log lines of Prefect, and tracebacks")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check what can be checked at once, then run the flow."""
    from flows.setup.retrain import check_retrain, retrain_params

    names = ("models", "reviewed", "start", "tune", "epochs", "batch", "learning_rate", "seed", "device", "protocol")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    gate = dict(_bound(text) for text in args.bound)
    params = retrain_params({**given, "facesets": args.faceset, "promote": not args.keep, "gate": gate})
    check_retrain(params)
    outcome = _run_flow(params, args.verbose)
    from tasks.artifacts.retrain import as_json, headline

    lines = [headline(outcome), *(f"  {reason}" for reason in outcome.verdict.reasons), f"verdict: {outcome.challenger.path}/verdict.md"]
    print_result(args.json, as_json(outcome), lines)
    return 0


def _bound(text: str) -> tuple[str, str]:
    """UsageError: not NAME=VALUE. The parameters check the name and the value of the bound."""
    from fer_core.errors import UsageError

    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise UsageError(f"a bound is NAME=VALUE, not {text!r}")
    return name.replace("-", "_"), value


def _run_flow(params: "RetrainParams", verbose: bool) -> "Outcome":
    """Run the flow. All that is started here is stopped here, also after an error."""
    from flows.cli.stage_progress import StageProgress
    from flows.server.prefect_api import prefect_api
    from flows.server.session import session
    from tasks.execution.progress import listening
    from tasks.execution.signals import raise_if_stop_requested

    with ExitStack() as stack:
        progress = stack.enter_context(StageProgress())
        progress("starting")
        stack.enter_context(session())
        api = stack.enter_context(prefect_api(verbose=verbose))
        from flows.retrain import retrain

        stack.enter_context(api.ready())
        stack.enter_context(listening(stage=progress))
        raise_if_stop_requested()
        return retrain(params)
