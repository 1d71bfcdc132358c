"""`--prior` and `--precision` of commands: how the logits of a model are read."""

import argparse
from pathlib import Path
from typing import Final

from fer_core.errors import UsageError

MOST_BYTES: Final = 2**16
"""Of a file of shares."""
PRIOR_HELP: Final = (
    "how often each expression is expected: training (as in the faces of training), tempered (a part of that), balanced (all alike), "
    "or a JSON file with eight shares (default: tempered, or training for a model without a class prior)"
)
PRECISION_HELP: Final = "mark for review so that the other labels are right this often on held-back faces, such as 0.9"


def add_prior(parser: argparse._ActionsContainer) -> None:
    """Declare `--prior`."""
    parser.add_argument("--prior", metavar="PRIOR|FILE", help=PRIOR_HELP)


def add_precision(parser: argparse._ActionsContainer) -> None:
    """Declare `--precision`."""
    parser.add_argument("--precision", metavar="P", type=float, help=PRECISION_HELP)


def read_prior(text: str | None) -> str | None:
    """A prior's name, eight shares with commas, or the path of a JSON file with them -> the name or the shares.

    UsageError: none of these.
    """
    from fer_core.json_reader import parse_json
    from fer_core.models.prior import PRIORS, normalised_shares, parse_prior, shares_text
    from fer_core.storage.bounded_file import read_bounded

    if text is None or text in PRIORS:
        return text
    file = Path(text)
    try:
        if not file.is_file():
            chosen = parse_prior(text)
            return chosen if isinstance(chosen, str) else shares_text(chosen)
        return shares_text(normalised_shares(parse_json(read_bounded(file, MOST_BYTES), MOST_BYTES)))
    except OSError as error:
        raise UsageError(f"cannot read the prior {text[:80]} ({error.strerror})") from error
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"the prior {text[:80]} is no JSON with eight shares: {error}") from error
