"""`ferflow models`: which models there are and what their cards say."""

import argparse
from typing import TYPE_CHECKING

from flows.answer import answer

if TYPE_CHECKING:
    from fer_core.models import ModelRef


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    group = subparsers.add_parser("models", help="list models, show a card")
    inner = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = inner.add_parser("list", help="models that come with ferflow")
    listing.add_argument("--json", action="store_true", help="one JSON object on stdout")
    listing.set_defaults(run=run_list)
    show = inner.add_parser("show", help="the card of a model")
    show.add_argument("model", metavar="NAME|DIR", help="shipped name or model folder")
    show.add_argument("--json", action="store_true", help="one JSON object on stdout")
    show.set_defaults(run=run_show)


def run_list(args: argparse.Namespace) -> int:
    """One line a model."""
    from fer_core.models import resolve_model, shipped_names  # noqa: PLC0415  (heavy imports come after parsing)
    from flows.model_page import list_page, size_bytes  # noqa: PLC0415

    models = [resolve_model(name) for name in shipped_names()]
    rows = [
        {"name": ref.name, "digest": ref.digest, "path": str(ref.path), "bytes": size_bytes(ref), "figures": ref.card.get("figures", {})}
        for ref in models
    ]
    answer(args.json, {"models": rows}, list_page(models))
    return 0


def run_show(args: argparse.Namespace) -> int:
    """A page for people; as JSON the whole card."""
    from fer_core.models import resolve_model  # noqa: PLC0415
    from flows.model_page import page  # noqa: PLC0415

    ref = resolve_model(args.model)
    answer(args.json, ref.card, "" if args.json else page(ref, _multiply_adds(ref), args.model))
    return 0


def _multiply_adds(ref: "ModelRef") -> int | None:
    """As the card says, else counted; None where the card does not describe a network."""
    said = ref.card.get("multiply_adds")
    if isinstance(said, int):
        return said
    from fer_core.network import NetworkConfig, multiply_adds  # noqa: PLC0415  (loads torch)

    try:
        return multiply_adds(NetworkConfig.from_json(ref.card["spec"]["network"]))
    except (KeyError, TypeError, ValueError, RuntimeError):
        return None
