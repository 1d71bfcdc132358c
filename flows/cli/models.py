"""`ferflow models`: lists models, shows their cards, and changes the champion of a folder of models."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from fer_core.errors import ModelError
from flows.cli.option_types import typed_output, typed_path, typed_text
from flows.output import print_result

if TYPE_CHECKING:
    from fer_core.models.registry import Promotion
    from fer_core.models.store import ModelRef


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    group = subparsers.add_parser("models", help="list models, show a card, promote one, roll back")
    inner = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = inner.add_parser("list", help="shipped models, or the promotions in a folder of models")
    listing.add_argument("models", metavar="MODELS", nargs="?", type=typed_path, help="folder of models")
    listing.add_argument("--json", action="store_true", help="one JSON object on stdout")
    listing.set_defaults(run=run_list)
    show = inner.add_parser("show", help="the card of a model")
    show.add_argument("model", metavar="NAME|DIR", help="shipped name or model folder")
    show.add_argument("--json", action="store_true", help="one JSON object on stdout")
    show.set_defaults(run=run_show)
    promotion = inner.add_parser("promote", help="make a model the champion of a folder of models, which `--model MODELS` selects")
    promotion.add_argument("model", metavar="NAME|DIR", help="shipped name or model folder; it is copied")
    promotion.add_argument("--to", metavar="MODELS", type=typed_output, required=True, help="folder of models")
    back = inner.add_parser("rollback", help="promote the previous champion again")
    back.add_argument("models", metavar="MODELS", type=typed_path, help="folder of models")
    for parser, run in ((promotion, run_promote), (back, run_rollback)):
        parser.add_argument("--reason", metavar="TEXT", type=typed_text, default="by hand", help="kept with the record")
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
        parser.set_defaults(run=run)


def run_list(args: argparse.Namespace) -> int:
    """One line a model."""
    from fer_core.models.store import resolve_model, shipped_names
    from flows.cli.model_page import list_page, size_bytes

    if args.models is not None:
        return _list_promotions(args)
    models = [resolve_model(name) for name in shipped_names()]
    rows = [
        {"name": ref.name, "digest": ref.digest, "path": str(ref.path), "bytes": size_bytes(ref), "figures": ref.card.get("figures", {})}
        for ref in models
    ]
    print_result(args.json, {"models": rows}, list_page(models))
    return 0


def run_show(args: argparse.Namespace) -> int:
    """A page for people; as JSON the whole card."""
    from fer_core.models.store import resolve_model
    from flows.cli.model_page import page

    ref = resolve_model(args.model)
    print_result(args.json, ref.card, "" if args.json else page(ref, _multiply_adds(ref), args.model))
    return 0


def run_promote(args: argparse.Namespace) -> int:
    """Promotion without a gate, by a person's decision. The flow `retrain` promotes models that pass its gate."""
    from fer_core.models.registry import champion, promote
    from fer_core.models.store import load_model, resolve_model

    model = resolve_model(args.model)
    load_model(model)  # a model that cannot be loaded is not promoted
    return _promoted(args, promote(args.to, model, champion(args.to).digest, args.reason))


def run_rollback(args: argparse.Namespace) -> int:
    """One step back."""
    from fer_core.models.registry import rollback

    return _promoted(args, rollback(args.models, args.reason))


def _promoted(args: argparse.Namespace, promotion: "Promotion") -> int:
    text = f"{promotion.name} {promotion.digest[:12]} labels from now on (was {promotion.previous[:12]})"
    print_result(args.json, asdict(promotion), text)
    return 0


def _list_promotions(args: argparse.Namespace) -> int:
    """One line a promotion, the champion last."""
    from fer_core.models.registry import champion, promotions

    if not args.models.is_dir():
        raise ModelError(f"no such folder of models: {args.models}")
    done, holder = promotions(args.models), champion(args.models)
    lines = [f"{one.number:4d}  {one.at}  {one.kind:8}  {one.name:24}  {one.digest[:12]}  {one.reason}" for one in done]
    lines.append(f"champion: {holder.name} {holder.digest[:12]}" + ("" if done else " (comes with ferflow; nothing was promoted yet)"))
    value = {"champion": {"name": holder.name, "digest": holder.digest}, "promotions": [asdict(one) for one in done]}
    print_result(args.json, value, lines)
    return 0


def _multiply_adds(ref: "ModelRef") -> int | None:
    """From the card, else counted; None where the card does not describe a network."""
    said = ref.card.get("multiply_adds")
    if isinstance(said, int):
        return said
    from fer_core.models.network import NetworkConfig, multiply_adds

    try:
        return multiply_adds(NetworkConfig.from_json(ref.card["spec"]["network"]))
    except (KeyError, TypeError, ValueError, RuntimeError):
        return None
