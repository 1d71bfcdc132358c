"""What is installed is what the locks list, file by file, and the locks hold all that the product imports."""

import ast
import hashlib
import re
import subprocess
import sys
import tomllib
import zipfile
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.processes import REPOSITORY

LOCKS = ("constraints.txt", "locks/torch.txt", "locks/cuda.txt", "locks/delta.txt", "locks/docs.txt", "locks/dev.txt")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
DECLARED = PROJECT["project"]["dependencies"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
DOCKERFILES = ("deployments/docker/cpu.Dockerfile", "deployments/docker/cuda.Dockerfile")
OPTIONAL = {"torchvision"}
"""Imported where it is there, and never needed."""
# torch 2.13.0 for CPython 3.11 on Linux x86-64
CPU_WHEEL = "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b"
PYPI_WHEEL = "60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7"


@cache
def lock(name):
    """Each package of a file with its requirement and its digests."""
    text = (REPOSITORY / name).read_text("utf-8").replace("\\\n", " ")
    found = {}
    for line in (line for line in text.splitlines() if not line.startswith("#")):
        requirement, *digests = re.split(r"\s+--hash=sha256:", line)
        wanted = Requirement(requirement)
        assert canonicalize_name(wanted.name) not in found
        found[canonicalize_name(wanted.name)] = (wanted, digests)
    return found


def pinned(*names):
    """Requirements of what these files install here."""
    every = ((package, wanted) for name in names for package, (wanted, _) in lock(name).items())
    return {package: wanted for package, wanted in every if wanted.marker is None or wanted.marker.evaluate()}


@pytest.mark.parametrize("name", [*LOCKS, "deployments/swift/requirements.txt"])
def test_every_entry_is_one_release_with_the_digests_of_its_files(name):
    assert lock(name)
    for wanted, digests in lock(name).values():
        (specifier,) = wanted.specifier
        assert specifier.operator == "=="
        assert "*" not in specifier.version
        assert wanted.url is None
        assert digests
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)


def needed(wanted):
    """Everything that these need here, as the installed packages say it: requirements by name."""
    found, waiting = {}, [Requirement(one) for one in wanted]
    while waiting:
        one = waiting.pop()
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(one.name)
        known = found.setdefault(name, {})
        key = (str(one.specifier), tuple(sorted(one.extras)))
        if key in known:
            continue
        known[key] = one
        try:
            more = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        for text in more:
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in ("", *one.extras)):
                inner.marker = None
                waiting.append(inner)
    return {name: list(known.values()) for name, known in found.items()}


@pytest.mark.parametrize(
    ("wanted", "files"),
    [
        (DECLARED, ("constraints.txt", "locks/torch.txt")),
        (PROJECT["build-system"]["requires"], ("constraints.txt",)),
        ([*DECLARED, *EXTRAS["delta"]], ("constraints.txt", "locks/torch.txt", "locks/delta.txt")),
        ([*DECLARED, *EXTRAS["docs"]], ("constraints.txt", "locks/torch.txt", "locks/docs.txt")),
        ([*DECLARED, *EXTRAS["dev"]], ("constraints.txt", "locks/torch.txt", "locks/dev.txt")),
    ],
    ids=["runtime", "build", "delta", "docs", "dev"],
)
def test_the_locks_are_whole_and_fit_pyproject(wanted, files):
    """Nothing is resolved when they are installed, so whatever is needed must be in them."""
    releases = {**pinned("locks/cuda.txt"), **pinned(*files)}  # CUDA's, should PyTorch here be PyPI's
    for name, requirements in needed(wanted).items():
        assert name in releases, name
        (release,) = releases[name].specifier
        for one in requirements:
            assert one.specifier.contains(release.version, prereleases=True), (name, str(one), release.version)


def test_the_command_needs_no_tool_of_the_developers():
    tools = {canonicalize_name(Requirement(one).name) for one in [*EXTRAS["docs"], *EXTRAS["dev"]]}
    assert not tools & (set(lock("constraints.txt")) | set(lock("locks/delta.txt")) - {"deltalake"})


def test_pytorch_is_one_release_from_either_index():
    ((wanted, digests),) = lock("locks/torch.txt").values()
    assert Requirement(DECLARED[0]).specifier.contains(str(wanted.specifier).removeprefix("=="))
    assert {CPU_WHEEL, PYPI_WHEEL} <= set(digests)
    everywhere = {name for file in LOCKS for name in lock(file)}
    cuda = {name for name in everywhere if name.startswith(("nvidia-", "cuda-")) or name == "triton"}
    assert cuda == set(lock("locks/cuda.txt"))
    assert all(wanted.marker is not None and "linux" in str(wanted.marker) for wanted, _ in lock("locks/cuda.txt").values())
    assert [file for file in LOCKS if "torch" in lock(file)] == ["locks/torch.txt"]


def test_one_package_owns_cv2():
    assert {name for file in LOCKS for name in lock(file) if name.startswith("opencv")} == {"opencv-python"}
    assert set(packages_distributions()["cv2"]) == {"opencv-python"}


def imported(folder):
    """Packages from outside that a folder's code imports: each with one of the files."""
    found = {}
    for file in sorted((REPOSITORY / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            found |= {name.partition(".")[0]: str(file.relative_to(REPOSITORY)) for name in names}
    ours = {"fer_core", "tasks", "flows", "deployments", "lock", "tests", "_typeshed"}
    return {name: file for name, file in found.items() if name not in sys.stdlib_module_names and name not in ours}


@pytest.mark.parametrize("folder", ["fer_core", "tasks", "flows", "deployments"])
def test_whatever_the_product_imports_is_declared(folder):
    declared = {
        canonicalize_name(Requirement(one).name)
        for one in [*DECLARED, *(one for extra in ("delta", "slurm", "kubernetes", "raw", "jxl", "docs") for one in EXTRAS[extra])]
    }
    owners = packages_distributions()
    for name, file in imported(folder).items():
        if name not in OPTIONAL:
            packages = {canonicalize_name(one) for one in owners.get(name, [name])}
            assert packages & declared, f"{file} imports {name}"


def recipe(*words):
    """The commands that make would run for the environment."""
    dry = ["make", "--dry-run", "--always-make", "VENV=somewhere", f"PYTHON={sys.executable}", *words, "somewhere/dev.stamp"]
    return subprocess.run(dry, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.replace("\\\n", " ")


def test_make_installs_locked_files_and_then_ferflow():
    installs = [one for line in recipe().splitlines() for one in re.findall(r"somewhere/bin/python -m pip install[^;|]*", line)]
    *locked, ferflow = [one for one in installs if "locks/dev.txt" not in one]
    for one in [*locked, *(one for one in installs if "locks/dev.txt" in one)]:
        assert {"--no-deps", "--require-hashes", "--only-binary"} <= set(one.split()), one
    assert "--no-deps --no-build-isolation --editable ." in ferflow
    assert not re.search("constraint |extra-index-url", recipe())
    only = [one for one in re.findall(r"pip install[^;|]*", recipe("TORCH_INDEX=https://index.example/cpu")) if "index-url" in one]
    assert only
    assert all('locks/torch.txt --index-url "https://index.example/cpu"' in one for one in only)


@pytest.mark.parametrize("name", ["README.md", "docs/guides/deploy.md", "Makefile", ".ci/run", *DOCKERFILES])
def test_no_second_index_is_mixed_in(name):
    text = (REPOSITORY / name).read_text("utf-8")
    assert "extra-index-url" not in text
    assert "EXTRA_INDEX_URL" not in text


def wheel(folder, content):
    """A package of one module, as a wheel."""
    file = folder / "oneline-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("oneline.py", content)
        archive.writestr(
            "oneline-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: oneline\nVersion: 1.0\nRequires-Dist: something-else\n"
        )
        archive.writestr("oneline-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("oneline-1.0.dist-info/RECORD", "")
    return file


def test_a_file_with_another_digest_is_refused(tmp_path):
    """The words of the recipe, with a lock of this test."""
    words = next(line for line in recipe().splitlines() if line.endswith("constraints.txt")).split()[1:-1]
    words = [
        sys.executable,
        *words,
        str(tmp_path / "lock.txt"),
        "--no-index",
        "--find-links",
        str(tmp_path),
        "--target",
        str(tmp_path / "here"),
    ]
    digest = hashlib.sha256(wheel(tmp_path, "x = 1").read_bytes()).hexdigest()
    (tmp_path / "lock.txt").write_text(f"oneline==1.0 \\\n    --hash=sha256:{digest}\n")
    assert subprocess.run(words, capture_output=True, text=True, check=False).returncode == 0
    wheel(tmp_path, "x = 2")
    ended = subprocess.run([*words, "--upgrade"], capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "DO NOT MATCH THE HASHES" in ended.stderr
    assert (tmp_path / "here" / "oneline.py").read_text() == "x = 1"
    (tmp_path / "lock.txt").write_text("oneline==1.0\n")
    assert subprocess.run(words, capture_output=True, text=True, check=False).returncode != 0


def test_versions_that_stand_twice_agree():
    seen = {}
    for file in LOCKS:
        for name, (wanted, _) in lock(file).items():
            release = Version(str(wanted.specifier).removeprefix("=="))
            assert seen.setdefault(name, release) == release
