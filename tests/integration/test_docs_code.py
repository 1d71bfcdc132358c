"""Every code block of README and docs: Python and SQL run over one labelled root, commands are parsed, JSON is read.

A block may use what its text names: `LABELS` is the root, `PART` a file of it, `ferplus` and `rafdb` are face sets, `rgb_array`,
`pil_image` and `frame` pictures, `crops` faces. A question of docs/guides/queries.md, SQL that begins with a comment, has its answer in the
block of text behind it, over the root of `question_root`; blocks that compute `five` give the answers of five of them in other programs.
"""

import importlib.util
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pandas
import polars
import pyarrow
import pyarrow.dataset
import pytest
from PIL import Image

from fer_core.errors import FerflowError
from fer_core.export.current_view import views
from fer_core.export.delta import register
from fer_core.query.session import open_session, rows
from fer_core.review.face_set import Shares, import_reviewed
from fer_core.review.incoming import import_reviews
from fer_core.storage.store import open_store
from flows.cli.main import _parser
from flows.cli.query_result import table_lines
from tests.support.question_root import question_root
from tests.support.reviews import correction, corrections, labels_of, night, photographs, written

REPOSITORY = Path(__file__).parents[2]
PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md")))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PROMPTS = ("ferflow ", ".venv/bin/ferflow ", "python -m ", "python -P -m ", "make ")


class Block(NamedTuple):
    """A block of one page."""

    page: str
    kind: str
    text: str


BLOCKS = [Block(page.name, kind, text) for page in PAGES for kind, text in FENCE.findall(page.read_text())]
ANSWERED = re.compile(r"^```sql\n-- (.*?)\n(.*?);\n```\n\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)
QUESTIONS = {title: (sql, answer) for page in PAGES for title, sql, answer in ANSWERED.findall(page.read_text())}
FIVE = {
    "happy": "happy share by month",
    "surprised": "images with three surprised people",
    "unsure": "the hundred least sure",
    "sizes": "expression by face size",
    "reasons": "quarantine reasons of the last week",
}


def blocks(kind):
    found = [block for block in BLOCKS if block.kind == kind and "five =" not in block.text]
    return pytest.mark.parametrize("block", found, ids=[f"{block.page}-{number}" for number, block in enumerate(found)])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the root `LABELS`: four runs, every face of which was reviewed."""
    folder = tmp_path_factory.mktemp("docs")
    photos = photographs(folder / "photos", 24)
    for number in range(4):
        night(folder / "LABELS", photos, number, keep_crops=True)
    store = open_store(str(folder / "LABELS"))
    said = [correction(row, "fear" if number % 2 else "anger") for number, row in enumerate(labels_of(folder / "LABELS"))]
    import_reviews(store, written(folder / "said.json", corrections(said)))
    import_reviewed(store, folder / "ferplus", Shares(valid=0.1, test=0.1))
    return folder


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A folder with the root `LABELS` of the questions."""
    folder = tmp_path_factory.mktemp("asked")
    question_root(folder)
    for table in ("labels", "images"):
        register(open_store(str(folder / "LABELS")), table)
    return folder


@blocks("python")
def test_python(block, place, monkeypatch):
    monkeypatch.chdir(place)
    names = {"pandas": pandas, "polars": polars, "pyarrow": pyarrow, "PART": str(next(place.glob("LABELS/labels/*/*/*.parquet")))}
    names |= {"ferplus": place / "ferplus", "rafdb": place / "ferplus"}
    array = np.zeros((120, 120, 3), np.uint8)
    names |= {"rgb_array": array, "frame": array, "pil_image": Image.fromarray(array), "crops": np.zeros((2, 112, 112, 3), np.uint8)}
    if "DeltaTable" in block.text:
        names["DeltaTable"] = pytest.importorskip("deltalake", reason="the extra `delta` is not installed").DeltaTable
        register(open_store("LABELS"), "labels")
    exec(compile(block.text, block.page, "exec"), names)


@blocks("sql")
def test_sql(block, place, monkeypatch):
    monkeypatch.chdir(place)
    with duckdb.connect() as database:
        database.execute(views(open_store("LABELS")))
        if block.text.startswith("-- "):  # of `ferflow query`, which has more views
            with open_session(open_store("LABELS")) as session:
                session.run(block.text).read_all()
            return
        database.execute(block.text).fetchall()
        assert database.sql("FROM current").fetchall()


@pytest.mark.parametrize("title", QUESTIONS)
def test_answers(title, asked):
    sql, answer = QUESTIONS[title]
    with open_session(open_store(str(asked / "LABELS"))) as session:
        reader = session.run(sql)
        found = [line.rstrip() for line in table_lines(reader.schema.names, rows(reader))]
    shown = answer.splitlines()
    start, end = (shown.index("..."), len(shown) - shown.index("...") - 1) if "..." in shown else (len(found), 0)
    assert shown == (found if end == 0 else [*found[:start], "...", *found[-end:]])


def test_twenty_questions_have_answers():
    assert len(QUESTIONS) == 20
    assert len(QUESTIONS) == sum(block.kind == "sql" and block.text.startswith("-- ") for block in BLOCKS)
    assert set(FIVE.values()) <= set(QUESTIONS)


@pytest.mark.parametrize("program", ["pandas", "polars", "spark", "deltalake"])
def test_other_programs_give_the_same_answers(program, asked, monkeypatch, request):
    pytest.importorskip({"spark": "pyspark"}.get(program, program), reason=f"{program} is not installed")
    monkeypatch.chdir(asked)
    names = {"pyarrow": pyarrow}
    if program == "spark":
        if shutil.which("java") is None:
            pytest.skip("Spark needs Java")
        from tests.support.spark_reader import session as spark_session

        names["spark"] = spark_session()
        request.addfinalizer(names["spark"].stop)
    shared, block = (
        next(one for one in BLOCKS if word in one.text and mark in one.text) for word, mark in (("FIVE =", "{"), ("five =", program))
    )
    for text in (shared.text, block.text):
        exec(compile(text, block.page, "exec"), names)
    with open_session(open_store("LABELS")) as session:
        for name, title in FIVE.items():
            right = session.run(QUESTIONS[title][0]).read_all()
            assert tuples(names["five"][name]) == tuples(right), name


def tuples(answer):
    """The rows of any program's table, in one order. Integers are floats to some; float32 to others."""
    if isinstance(answer, pandas.Series | pandas.DataFrame):
        answer = answer.reset_index() if any(answer.index.names) else answer
        found = answer.itertuples(index=False, name=None)
    elif isinstance(answer, polars.DataFrame):
        found = answer.rows()
    elif isinstance(answer, pyarrow.Table):
        found = (row.values() for row in answer.to_pylist())
    else:
        found = answer
    return sorted(tuple(value if isinstance(value, str) else round(float(value), 3) for value in row) for row in found)


@blocks("json")
def test_json(block):
    json.loads(block.text)


def commands():
    """Each line of a block that starts a command of ours, with the lines that continue it."""
    for block in BLOCKS:
        for line in block.text.replace("\\\n", " ").splitlines():
            if not block.kind and line.startswith(PROMPTS):
                yield f"{block.page}: {line}"


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_commands(line, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line.partition(": ")[2], comments=True)
    for end in ("|", ">", ">>", "&&"):
        words = words[: words.index(end)] if end in words else words
    if words[0].endswith("ferflow"):
        assert _parser(words[1:]).parse_args(words[1:]).run
    elif words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(targets)
    else:
        assert importlib.util.find_spec(words[words.index("-m") + 1]) is not None


def test_a_wrong_command_is_found():
    with pytest.raises((SystemExit, FerflowError)):
        _parser(["label", "x", "--too", "y"]).parse_args(["label", "x", "--too", "y"])
