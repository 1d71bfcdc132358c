"""`ferflow policy`: shows or sets what runs of a labels root may do."""

import argparse
from typing import Any

from flows.cli.option_types import typed_text
from flows.output import print_result

HELP = """Shows the policy of a labels root, or sets the rules that are given. Runs that break a rule are refused in one line, before any
image is read: from the command, from forms, relabelled, and resumed. Runs that are committed stay as they are, but for their age:
at the end of a run, and in housekeeping, crops and rows that are older than the policy allows are removed.

  ferflow policy ~/labels
  ferflow policy ~/labels --require-purpose --crops never
  ferflow policy ~/labels --allowed-purpose 'archive search' --allowed-purpose 'user study 12'
  ferflow policy ~/labels --any-purpose
  ferflow policy ~/labels --keep-crops-days 30 --keep-labels-days 365
  ferflow policy ~/labels --keep-labels-days off

An image whose rows were removed for their age is labelled again when its content has changed, or after --keep-labels-days off."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "policy",
        help="show or set what runs of a labels root may do",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", metavar="ROOT", help="labels root: folder or s3:// prefix")
    parser.add_argument("--require-purpose", action=argparse.BooleanOptionalAction, help="whether every run has to state its purpose")
    parser.add_argument("--crops", choices=("allowed", "never"), help="whether runs may keep the crops of faces")
    purposes = parser.add_mutually_exclusive_group()
    purposes.add_argument(
        "--allowed-purpose", metavar="TEXT", type=typed_text, action="append", help="the only purposes of runs, in these words; repeatable"
    )
    purposes.add_argument("--any-purpose", action="store_true", help="allow any purpose again")
    for option, gone in (("--keep-crops-days", "the crops of faces; their rows stay"), ("--keep-labels-days", "all rows of images")):
        parser.add_argument(option, metavar="N|off", type=_days, help=f"remove, N days after they were labelled, {gone}")
    keys = "root, require_purpose, crops, allowed_purposes, keep_crops_days, keep_labels_days"
    parser.add_argument("--json", action="store_true", help=f"one JSON object on stdout: {keys}")
    parser.set_defaults(run=run)


def _days(text: str) -> int:
    """0 for `off`."""
    from fer_core.commit.policy import MOST_DAYS

    if text == "off":
        return 0
    if text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_DAYS:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither off nor a number of days between 1 and {MOST_DAYS:,}")


def run(args: argparse.Namespace) -> int:
    """Setting takes the root's lease; showing does not."""
    from dataclasses import asdict, replace

    from fer_core.commit.expired_list import remove_expired_list
    from fer_core.commit.lease import lease
    from fer_core.commit.policy import Policy, read_policy, write_policy
    from fer_core.erasure.forget import finish_forgetting
    from fer_core.errors import StoreError, UsageError
    from fer_core.storage.store import open_store

    store = open_store(args.root)
    rules: dict[str, Any] = {"require_purpose": args.require_purpose, "crops": args.crops}
    ages: dict[str, Any] = {"keep_crops_days": args.keep_crops_days, "keep_labels_days": args.keep_labels_days}  # 0: off
    purposes = [text.strip() for text in args.allowed_purpose or ()]
    if "" in purposes:
        raise UsageError("an allowed purpose is not empty")

    def changed(policy: Policy) -> Policy:
        allowed = () if args.any_purpose else tuple(dict.fromkeys(purposes)) or policy.allowed_purposes
        given = {name: value for name, value in rules.items() if value is not None}
        given |= {name: days or None for name, days in ages.items() if days is not None}
        return replace(policy, **given, allowed_purposes=allowed)

    policy = read_policy(store)
    if any(value is not None for value in (*rules.values(), *ages.values())) or purposes or args.any_purpose:
        store.check_writable()  # a new root may have a policy before its first run
        with lease(store, "setting the policy") as held:
            finish_forgetting(store, held.check)  # by the ages that it began with
            policy = changed(read_policy(store))
            write_policy(store, policy)
            if args.keep_labels_days == 0:
                remove_expired_list(store)
    elif not store.list_files():
        raise StoreError(f"there is no run in {store.url()}")
    allowed = ", ".join(repr(text) for text in policy.allowed_purposes) or "any"
    ages_told = (("crops", policy.keep_crops_days), ("labels", policy.keep_labels_days))
    kept = [f"{what} {'until forgotten' if days is None else f'{days:,} days'}" for what, days in ages_told]
    lines = [f"purpose   {'required' if policy.require_purpose else 'not required'}; allowed: {allowed}", f"crops     {policy.crops}"]
    lines += [f"kept      {', '.join(kept)}"]
    print_result(args.json, {"root": store.url(), **asdict(policy)}, lines)
    return 0
