"""docs/benchmarks/index.md names a first command for each folder of benchmarks, and commands in any page are there."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
BENCHMARKS = (REPOSITORY / "docs" / "benchmarks" / "index.md").read_text("utf-8")
TABLE = re.findall(r"^\| `(\w+)/` \| `python -m ([\w.]+) ?([^`]*)` \|", BENCHMARKS, re.MULTILINE)
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def source(module: str) -> str:
    return (REPOSITORY / f"{module.replace('.', '/')}.py").read_text("utf-8")


def test_each_folder_has_one_first_command():
    folders = {file.parent.name for file in (REPOSITORY / "benchmarks").glob("*/*.py")}
    assert sorted(folder for folder, *_ in TABLE) == sorted(folders)


@pytest.mark.parametrize(("folder", "module", "options"), TABLE, ids=[folder for folder, *_ in TABLE])
def test_the_command_is_there(folder, module, options):
    assert module.startswith(f"benchmarks.{folder}.")
    text = source(module)
    assert '__name__ == "__main__"' in text
    assert [option for option in re.findall(r"--\w[\w-]*", options) if f'"{option}"' not in text] == []


def test_every_page_names_modules_that_run():
    named = {module for page in PAGES for module in re.findall(r"python -m (benchmarks(?:\.\w+)+)", page.read_text("utf-8"))}
    assert len(named) > 20
    assert [module for module in sorted(named) if '__name__ == "__main__"' not in source(module)] == []
