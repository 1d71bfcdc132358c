"""CONTRIBUTING.md: its worked examples, applied to a copy of the packages, pass their tests and the linters."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")
EXAMPLES = ("a loss", "a face set importer", "a detector", "a cluster backend")
PACKAGES = ("fer_core", "tasks", "flows")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def new_files() -> dict[str, str]:
    """Path -> text; the first line of a block names the file."""
    return {block.partition("\n")[0].removeprefix("# "): block.partition("\n")[2] for block in blocks("python")}


def apply(copy: Path, change: str) -> None:
    """Hunks of a file stand after `--- FILE`, with `@@` between them. What a hunk replaces must be there once."""
    for part in re.split(r"^--- ", change, flags=re.MULTILINE)[1:]:
        name, _, hunks = part.partition("\n")
        text = (copy / name).read_text("utf-8")
        for hunk in re.split(r"^@@\n", hunks, flags=re.MULTILINE):
            lines = hunk.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] in " -")
            new = "".join(line[1:] for line in lines if line[0] in " +")
            assert text.count(old) == 1, f"CONTRIBUTING.md changes lines that {name} does not have (once):\n{old}"
            text = text.replace(old, new)
        (copy / name).write_text(text, "utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("contributing")
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    for name, text in new_files().items():
        file = folder / name
        assert not file.exists(), f"{name} is there already"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    for change in blocks("diff"):
        apply(folder, change)
    return folder


def run(copy: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(copy), "HOME": str(copy / "home")}
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=copy, env=environment, timeout=280)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_each_kind_of_part_has_an_example():
    assert re.findall(r"^## Add (.+)$", PAGE, re.MULTILINE) == list(EXAMPLES)
    assert len(blocks("diff")) == len(EXAMPLES)
    assert len(new_files()) == len(blocks("python")) == 2 * len(EXAMPLES)


def test_the_examples_pass_their_tests(copy):
    tests = [name for name in new_files() if name.startswith("tests/")]
    said = run(copy, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert "6 passed" in said
    where = run(copy, sys.executable, "-c", "import fer_core, tasks, flows; print(fer_core.__file__, tasks.__file__, flows.__file__)")
    assert [Path(file).is_relative_to(copy) for file in where.split()] == [True] * 3  # else another copy was tested


@pytest.mark.parametrize("words", [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("lint-imports", "--no-cache")])
def test_the_examples_pass_the_linters(copy, words):
    program = Path(sys.executable).with_name(words[0])
    if not program.is_file():
        pytest.skip(f"{words[0]} is not installed")
    run(copy, str(program), *words[1:])


def test_quick_tests_are_of_every_folder():
    done = subprocess.run(
        ["make", "--silent", "--eval", "print-quick: ; @echo $(QUICK)", "print-quick"],
        check=True,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=60,
    )
    quick = [REPOSITORY / name for name in done.stdout.split()]
    assert [file for file in quick if not file.is_file()] == []
    assert {file.parent for file in quick} == {file.parent for file in (REPOSITORY / "tests" / "unit").rglob("test_*.py")}
