"""`ferflow policy`: shows or sets what runs of a labels root may do."""

import argparse

from flows.cli.option_types import typed_text
from flows.output import print_result

HELP = """Shows the policy of a labels root, or sets the rules that are given. Runs that break a rule are refused in one line, before any
image is read: from the command, from forms, relabelled, and resumed. Runs that are committed stay as they are.

  ferflow policy ~/labels
  ferflow policy ~/labels --require-purpose --crops never
  ferflow policy ~/labels --allowed-purpose 'archive search' --allowed-purpose 'user study 12'
  ferflow policy ~/labels --any-purpose"""


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
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout: root, require_purpose, crops, allowed_purposes")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Setting takes the root's lease; showing does not."""
    from dataclasses import asdict, replace

    from fer_core.commit.lease import lease
    from fer_core.commit.policy import Policy, read_policy, write_policy
    from fer_core.errors import StoreError, UsageError
    from fer_core.storage.store import open_store

    store = open_store(args.root)
    rules = {"require_purpose": args.require_purpose, "crops": args.crops}
    purposes = [text.strip() for text in args.allowed_purpose or ()]
    if "" in purposes:
        raise UsageError("an allowed purpose is not empty")

    def changed(policy: Policy) -> Policy:
        allowed = () if args.any_purpose else tuple(dict.fromkeys(purposes)) or policy.allowed_purposes
        return replace(policy, **{name: value for name, value in rules.items() if value is not None}, allowed_purposes=allowed)

    policy = read_policy(store)
    if any(value is not None for value in rules.values()) or purposes or args.any_purpose:
        store.check_writable()  # a new root may have a policy before its first run
        with lease(store, "setting the policy"):
            policy = changed(read_policy(store))
            write_policy(store, policy)
    elif not store.list_files():
        raise StoreError(f"there is no run in {store.url()}")
    allowed = ", ".join(repr(text) for text in policy.allowed_purposes) or "any"
    lines = [f"purpose   {'required' if policy.require_purpose else 'not required'}; allowed: {allowed}", f"crops     {policy.crops}"]
    print_result(args.json, {"root": store.url(), **asdict(policy)}, lines)
    return 0
