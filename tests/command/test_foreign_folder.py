"""The working folder is not code: what lies there beside photographs is neither imported nor loaded, run or read as settings."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fer_core import isolation
from fer_core.labels import EXPRESSIONS
from flows.server import child_processes
from tasks.clusters.settings import ENVIRONMENT, as_environment
from tests.support.foreign_folder import foreign_folder
from tests.support.made_faces import encoded, faces
from tests.support.processes import REPOSITORY

PROBE = """
import os, subprocess, sys
sys.path.insert(0, {repository!r})
from fer_core.isolation import isolate_command
os.chdir({folder!r})
sys.path.insert(0, os.getcwd())  # where `python -m` and an empty entry put it
isolate_command()
from flows.server.child_processes import environment, python
assert os.getcwd() not in sys.path, sys.path
subprocess.run(python("-c", "import psutil, uvicorn"), env=environment({{}}), check=True)
subprocess.run([sys.executable, "-c", "import psutil, uvicorn"], check=True)
print(os.environ["PYTHONPATH"], os.environ["PATH"])
"""

SETTINGS = """
import flows
from prefect.settings import get_current_settings
found = get_current_settings()
print(found.logging.config_path, found.profiles_path, found.home)
"""

LIBRARIES = """
import os, subprocess, sys
sys.path.insert(0, {repository!r})
os.environ["LD_LIBRARY_PATH"] = {inherited!r}
import fer_core, cv2
assert all(os.environ["LD_LIBRARY_PATH"].split(":")), os.environ["LD_LIBRARY_PATH"]
subprocess.run([sys.executable, "-P", "-c", "pass"], check=True)
"""


@pytest.fixture
def foreign(tmp_path):
    return foreign_folder(tmp_path)


def python(code: str, folder: Path, environment: dict[str, str]) -> str:
    """What it prints, started in a folder without that being on its path."""
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=folder, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_whole_run_uses_nothing_of_it(labelled):
    """Command, server, watchdog, nannies, their workers and what those start."""
    assert labelled.ended.code == 0, labelled.ended.err
    assert labelled.foreign.marks() == []


def test_what_is_used_leaves_a_mark(foreign):
    """Python as it comes looks there first."""
    for words in (["-m", "uvicorn"], ["-c", "import psutil"]):
        subprocess.run([sys.executable, *words], cwd=foreign.path, check=False, capture_output=True)
    assert {"uvicorn", "psutil"} <= set(foreign.marks())


def test_processes_that_look_for_faces(foreign, commands, tmp_path):
    for index, picture in enumerate(faces(2)):
        place = tmp_path / "source" / EXPRESSIONS[index]
        place.mkdir(parents=True)
        (place / "0.png").write_bytes(encoded(picture))
    words = ("dataset", "import", "folder", tmp_path / "source", "--to", tmp_path / "faces", "--detector", "builtin", "--workers", 1)
    ended = commands.run(*words, cwd=foreign.path)
    assert ended.code == 0, ended.err
    assert foreign.marks() == []


def test_search_paths_with_empty_entries_are_not_handed_on(foreign, commands, tmp_path):
    """`PYTHONPATH=$PYTHONPATH:/x` where there was none is the working folder, then `/x`."""
    inherited = {**commands.environment(), "PYTHONPATH": ":/nowhere:.:", "PATH": f":{os.environ['PATH']}:."}
    code = PROBE.format(repository=str(REPOSITORY), folder=str(foreign.path))
    assert python(code, tmp_path, inherited).split(maxsplit=1) == ["/nowhere", os.environ["PATH"]]
    assert foreign.marks() == []


@pytest.mark.parametrize("inherited", ["", ":", "/nowhere:"])
def test_no_library_is_loaded_from_it(foreign, commands, inherited):
    """OpenCV's loader leaves the dynamic linker of later processes a search path that ends in the working folder."""
    code = LIBRARIES.format(repository=str(REPOSITORY), inherited=inherited)  # set there: this process's own libraries are loaded by then
    python(code, foreign.path, {name: value for name, value in commands.environment().items() if name != "LD_LIBRARY_PATH"})


@pytest.mark.parametrize("broken", [False, True])
def test_prefect_takes_no_settings_from_it(foreign, commands, broken):
    """Neither what its files say nor what is wrong with them."""
    for file in ("prefect.toml", "pyproject.toml", ".env") if broken else ():
        (foreign.path / file).write_text("[[[ no settings")
    home = commands.home / ".prefect"
    assert python(SETTINGS, foreign.path, commands.environment()).split() == [
        str(home / name) for name in ("logging.yml", "profiles.toml", "")
    ]


def test_workers_elsewhere_are_told():
    """Slurm's jobs among them, which start in the folder from which they were submitted."""
    for told in (as_environment(), ENVIRONMENT):
        assert told.items() >= {**isolation.SAFE_PATH, **isolation.SILENT}.items()


def test_children_find_modules_where_this_process_does(monkeypatch):
    monkeypatch.setattr(sys, "path", ["", "/one", "/two"])
    monkeypatch.setenv("PYTHONPATH", ":")
    made = child_processes.environment({"NAME": "value"})
    assert (made["PYTHONPATH"], made["PYTHONSAFEPATH"], made["NAME"]) == (f"/one{os.pathsep}/two", "1", "value")
    assert child_processes.python("-m", "x") == [sys.executable, "-P", "-m", "x"]


def test_where_ferflow_itself_is_found_stays(monkeypatch):
    """A developer's working folder, and one below Python's own."""
    for folder in (isolation.PACKAGES, Path(os.__file__).parent):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "path", [str(folder)])
        monkeypatch.setenv("PYTHONSAFEPATH", "")
        isolation.isolate_command()
        assert sys.path == [str(folder)]


def test_no_python_process_is_started_with_the_working_folder_on_its_path():
    """`-m` and `-c` put it first, unless `-P` stands before them."""
    files = [file for top in ("fer_core", "tasks", "flows", "deployments", "benchmarks") for file in (REPOSITORY / top).rglob("*.py")]
    found = [f"{file}: {ast.unparse(words)}" for file in files for words in _unsafe(ast.parse(file.read_text("utf-8")))]
    assert found == []


def _unsafe(tree: ast.AST) -> list[ast.List]:
    """Command lines of Python that lack it."""
    lines = [node for node in ast.walk(tree) if isinstance(node, ast.List) and len(node.elts) > 1]
    pythons, flags = ("sys.executable", "python"), ("'-m'", "'-c'")
    return [line for line in lines if ast.unparse(line.elts[0]) in pythons and ast.unparse(line.elts[1]) in flags]


def test_recipes_keep_it_out():
    """As pages and deployments have them."""
    pages = [*(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "deployments").glob("**/*.*"), REPOSITORY / "README.md"]
    for page in pages:
        for line in page.read_text("utf-8", errors="ignore").splitlines():
            assert not re.search(r"python (-m flows|-c)" if page.suffix == ".md" else "python -m flows", line), f"{page}: {line}"
            if "dask worker " in line and page.suffix == ".md" and "-" in line.partition("dask worker ")[2] and "`" in line:
                assert "PYTHONSAFEPATH" in line or "PYTHONSAFEPATH" in page.read_text("utf-8").partition(line)[2][:300], f"{page}: {line}"
    for place in ("docker/cpu.Dockerfile", "docker/cuda.Dockerfile", "prefect.yaml", "s3-work-pool.json"):
        assert "PYTHONSAFEPATH" in (REPOSITORY / "deployments" / place).read_text("utf-8"), place
    assert '"--app-dir", "/opt/ferflow"' in (REPOSITORY / "deployments/docker/compose.yaml").read_text("utf-8")
