"""docs/explanation/security.md: each promise names a test, and the test exists."""

import ast
import re

import pytest

from tests.support.processes import REPOSITORY

PAGE = (REPOSITORY / "docs" / "explanation" / "security.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "`tests/" in line]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+(?:::\w+)?))?`", PAGE)))
LINES = (
    "Nothing leaves",
    "The working folder is not code",
    "Pages answer to themselves",
    "Reaching the API means code",
    "Dask is closed",
    "Cluster addresses are trusted code",
    "Lists",
    "Links",
    "Images",
    "Weights",
    "Face sets, archives, crops",
    "Text",
    "Secrets",
    "Files",
    "Supply chain",
)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_the_named_test_exists(path, name):
    tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    for part in filter(None, name.split("::")):
        found = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == part]
        assert found, f"{path} has no {name}"
        tree = found[0]


@pytest.mark.parametrize("line", LINES)
def test_each_line_has_rows_with_a_test(line):
    section = re.search(rf"^### {re.escape(line)}$(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section, f"docs/explanation/security.md has no section {line!r}"
    assert [row for row in section[1].splitlines() if row in ROWS], f"{line!r} names no test"
