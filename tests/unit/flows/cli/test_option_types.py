import argparse
from pathlib import Path

import pytest

from flows.cli.main import COMMANDS, Parser, _parser
from flows.cli.option_types import GivenOnce, typed_path, typed_text


def options(parser):
    """Of a parser and those below it, with the words that lead there."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from options(below)
        elif action.option_strings:
            yield parser, action


def test_every_single_option_of_every_command_is_given_once():
    found = [(parser, action) for parser, action in options(_parser([])) if action.nargs != 0]
    assert {parser.prog.split()[1] for parser, _ in found} >= set(COMMANDS) - {"discard", "verify"}
    several = [action for _, action in found if not isinstance(action, GivenOnce)]
    assert several
    assert [action.dest for action in several if not isinstance(action, argparse._AppendAction)] == []


def test_options_in_groups_too(capsys):
    parser = Parser(prog="x")
    one = parser.add_argument_group("g").add_mutually_exclusive_group()
    one.add_argument("--to")
    parser.add_argument("words", nargs="*")
    assert parser.parse_args(["--to", "a", "b", "c"]).words == ["b", "c"]
    with pytest.raises(SystemExit):
        parser.parse_args(["--to", "a", "--to", "b"])
    assert "argument --to: is given more than once" in capsys.readouterr().err


def test_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    assert [str(typed_path(text)) for text in ("~/x", "~", "./~", "a/~/b", "~no-such-user/x")] == [
        "/home/anna/x",
        "/home/anna",
        "~",
        "a/~/b",
        "~no-such-user/x",
    ]
    assert typed_path("x") == Path("x")


def test_text_is_as_typed():
    assert typed_text("zażółć") == "zażółć"
    assert typed_text("caf\udce9") == "caf\udce9"  # of a UTF-8 locale; see test_locale for another one
