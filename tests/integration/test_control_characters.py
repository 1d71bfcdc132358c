"""Names with characters that steer a terminal: what people and programs are shown of them, and that all of it passes the one edge."""

import ast
import io
import json
import logging
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.text import is_invisible, pieces, visible, visible_json, visible_lines
from flows import output as edge
from tasks.log_records import clean_log_records
from tests.support.fakes import config, label, refs, write_pictures
from tests.support.made_faces import small_model
from tests.support.processes import REPOSITORY, in_process

_CODES = (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x200E, 0xFEFF)
STEERING = {chr(code) for code in _CODES}
NASTY = "a\x1b[2J\x1b]0;mine\x07\r\nferflow: no problems\x9b31m\u202egpj.exe"
SHOWN = "a\\x1b[2J\\x1b]0;mine\\x07\\r\\nferflow: no problems\\x9b31m\\u202egpj.exe"


def steering(text, allowed="\n"):
    """Characters of a text that a terminal obeys."""
    return [one for one in text if one not in allowed and (unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"} or one in STEERING)]


@given(st.text())
def test_what_is_shown_steers_nothing_and_is_one_line(text):
    assert steering(visible(text), allowed="") == []
    assert steering(visible_lines(text)) == []
    assert "".join(pieces(text)) == text
    assert [piece for piece in pieces(text) if is_invisible(piece)] == [one for one in text if is_invisible(one)]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_means_the_same(text):
    written = visible_json(json.dumps({text: [text]}, ensure_ascii=False))
    assert json.loads(written) == {text: [text]}
    assert steering(written, allowed="") == []


@pytest.mark.parametrize("name", ["straße.jpg", "花 (1).png", "👩\u200d👧.jpg", "\u0645\u06cc\u200c\u062e", "9.41\u202fAM.png", "e\u0301"])
def test_names_in_any_script_are_shown_as_they_are(name):
    assert visible(name) == name


def test_a_nasty_name():
    assert visible(NASTY) == SHOWN
    assert visible(os.fsdecode(b"\xff.jpg")) == r"\udcff.jpg"
    assert visible("\U000e0041") == r"\U000e0041"
    assert visible_json('"\U000e0041"') == r'"\udb40\udc41"'


def test_answers_and_remarks_pass_the_edge(capsys):
    edge.print_result(False, {}, NASTY)
    edge.print_result(False, {}, ["first", NASTY])
    edge.print_line(NASTY)
    edge.print_line("10 faces", start="\r", end="")
    edge.print_lines(f"Traceback\n{NASTY}\n")
    edge.print_result(True, {"name": NASTY, "bytes": os.fsdecode(b"\xff")}, "")
    out, err = capsys.readouterr()
    assert out.splitlines()[:3] == [SHOWN, "first", SHOWN]
    assert json.loads(out.splitlines()[3]) == {"name": NASTY, "bytes": "\udcff"}
    assert steering(out) == []
    assert err.startswith(f"{SHOWN}\n\r10 facesTraceback\n")
    assert steering(err.replace("\r10", "10")) == []


def writes(tree):
    """Lines that write to standard output or error by themselves."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield node.lineno
        if isinstance(node, ast.Attribute) and node.attr in {"write", "writelines", "print_exc", "print_exception"}:
            whole = ast.unparse(node)
            if whole.startswith(("sys.stdout.", "sys.stderr.", "traceback.")):
                yield node.lineno


def test_nothing_writes_to_the_terminal_but_the_edge():
    found = {}
    for file in (one for folder in ("fer_core", "tasks", "flows") for one in (REPOSITORY / folder).rglob("*.py")):
        lines = list(writes(ast.parse(file.read_text("utf-8"))))
        if lines and file != Path(edge.__file__):
            found[str(file.relative_to(REPOSITORY))] = lines
    assert found == {}


def test_an_evil_model_card_is_shown_clean(commands, tmp_path, capsys):
    model = small_model(tmp_path / "model")
    card = json.loads((model.path / "card.json").read_text("utf-8"))
    evil = {"task": NASTY, "known_gaps": [NASTY], "trained_on": [{"name": NASTY, "counts": {}}], "framing_of_figures": NASTY}
    (model.path / "card.json").write_text(json.dumps({**card, **evil}), "utf-8")
    ended = commands.run("models", "show", model.path, "--json")
    assert (ended.code, steering(ended.out + ended.err)) == (0, [])
    assert ended.json["task"] == NASTY
    ended = in_process(capsys, "models", "show", model.path)
    assert (ended.code, steering(ended.out + ended.err)) == (0, [])


@pytest.mark.parametrize(
    "words",
    [
        ["models", "show", NASTY],
        ["verify", NASTY],
        ["gallery", NASTY, "--to", "page.html"],
        ["label", NASTY, "--to", "root"],
        ["label", ".", "--to", "root", "--prior", NASTY],
        ["review", "import", NASTY, "--to", "root"],
        ["dataset", "import", "folder", NASTY, "--to", "set"],
        [NASTY],
    ],
    ids=lambda words: " ".join(word for word in words if word.isascii() and word.isprintable()),
)
def test_what_goes_wrong_is_told_clean(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    is_told_clean(in_process(capsys, *words))


@pytest.mark.parametrize("words", [["verify", NASTY], ["label", os.fsdecode(b"\xff\x1b"), "--to", "root", "--json"]], ids=["text", "bytes"])
def test_what_a_command_says_is_clean(commands, tmp_path, words):
    is_told_clean(commands.run(*words, cwd=tmp_path))


def is_told_clean(ended):
    assert ended.code in (1, 2)
    assert ended.err.startswith("ferflow: ")
    assert len(ended.err.splitlines()) == 1
    assert steering(ended.out + ended.err) == []


def test_problems_of_a_root_are_told_clean(commands, tmp_path):
    root = tmp_path / NASTY.replace("/", "")
    run = label(config(root), refs(write_pictures(tmp_path / "photos", [1])))
    (root / next(part.path for part in run.parts)).unlink()
    ended = commands.run("verify", root)
    assert ended.code == 1
    assert steering(ended.out + ended.err) == []
    assert "no problems:" not in ended.out


@pytest.mark.parametrize("ending", ["%s", "%r"])
def test_log_lines_are_clean_whoever_writes_them(ending):
    clean_log_records()  # as importing `tasks` did; a test before this one may have put its own in place
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    log = logging.getLogger("prefect.somebody.else")
    log.addHandler(handler)
    log.propagate = False
    try:
        log.warning(f"not read: {ending}, %d bytes", NASTY, 3)
        log.warning("in a mapping: %(name)s", {"name": NASTY})
        log.warning(NASTY)
        log.warning("an error: %s", ValueError(NASTY))
        try:
            raise ValueError(NASTY)
        except ValueError:
            log.exception("failed")
        lines = stream.getvalue().splitlines()
    finally:
        log.removeHandler(handler)
    assert lines[0] == f"not read: {SHOWN if ending == '%s' else repr(SHOWN)}, 3 bytes"
    assert lines[1] == f"in a mapping: {SHOWN}"
    assert f"an error: {SHOWN}" in lines
    assert steering("\n".join(lines)) == []
