"""`ferflow models`: which models there are and what their cards say."""

import argparse
import json

from flows.answer import answer


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

    models = [resolve_model(name) for name in shipped_names()]
    rows = [{"name": ref.name, "digest": ref.digest, "path": str(ref.path), "figures": ref.card.get("figures", {})} for ref in models]
    answer(args.json, {"models": rows}, "\n".join(f"{row['name']:12} {str(row['digest'])[:12]}  {row['path']}" for row in rows))
    return 0


def run_show(args: argparse.Namespace) -> int:
    """The whole card."""
    from fer_core.models import resolve_model  # noqa: PLC0415

    card = resolve_model(args.model).card
    answer(args.json, card, json.dumps(card, indent=2))
    return 0
