"""Write the locks: exact releases with the digests of their files, for `pip install --require-hashes --no-deps`. `make lock` runs it.

    constraints.txt    what the command needs on every system, and setuptools, which builds it
    locks/torch.txt    PyTorch alone: PyPI's files and those of PyTorch's index of CPU builds, so that one index is enough
    locks/cuda.txt     what PyPI's PyTorch for Linux needs besides: CUDA's libraries
    locks/delta.txt    what the extra `delta` adds
    locks/docs.txt     what `make site` adds
    locks/dev.txt      what the tests, the checks of style and this program add

and to deployments/swift/requirements.txt, which lists releases by hand, the digests of their files.

Releases stay as they are unless pyproject.toml no longer allows them, or --upgrade is given. PyTorch stays at the release that
locks/torch.txt names: change it there first. Only descriptions of packages are read, no package is downloaded.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
CPU_INDEX: Final = "https://download.pytorch.org/whl/cpu/torch/"
OLDEST: Final = "3.11"
SWIFT: Final = ROOT / "deployments" / "swift" / "requirements.txt"

_PIN: Final = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")
_DIGEST: Final = re.compile(r"sha256[:=]([0-9a-f]{64})")
_CUDA: Final = re.compile(r"nvidia-|cuda-|triton$")
"""Names of what PyTorch's CUDA build needs and its CPU build does not."""

_HEADS: Final = {
    "constraints.txt": "What ferflow needs, but for PyTorch (locks/torch.txt).",
    "locks/torch.txt": "PyTorch: the files of PyPI and of PyTorch's index of CPU builds.",
    "locks/cuda.txt": "What PyPI's PyTorch for Linux needs besides.",
    "locks/delta.txt": "What ferflow's extra `delta` adds.",
    "locks/docs.txt": "What the documentation site adds.",
    "locks/dev.txt": "What tests and checks add.",
}

Entries = Mapping[str, str]
"""Of each package: its line with the marker and the lines of its digests."""


def main() -> int:
    """Resolve once for everything, then once for each part under those releases."""
    parser = argparse.ArgumentParser(description="Write constraints.txt and locks/*.txt from pyproject.toml.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest releases that pyproject.toml allows")
    upgrade = parser.parse_args().upgrade
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    extras = project["project"]["optional-dependencies"]
    torch = _read("locks/torch.txt")["torch"]
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder) / "known.txt"
        pinned = [_line(one) for file in _HEADS if not upgrade for one in _read(file).values()]
        known.write_text("\n".join([*pinned, _line(torch)]), "utf-8")
        every = resolved([*wanted, *(one for extra in extras.values() for one in extra), _line(torch)], known)
        known.write_text("\n".join(_line(one) for one in every.values()), "utf-8")
        runtime = resolved(wanted, known)
        delta = resolved([*wanted, *extras["delta"]], known)
        docs = resolved([*wanted, *extras.pop("docs")], known)
        dev = resolved([*wanted, *(one for extra in extras.values() for one in extra)], known)
    cuda = {name: one for name, one in runtime.items() if _CUDA.match(name)}
    written("constraints.txt", {name: one for name, one in runtime.items() if name != "torch" and name not in cuda})
    written("locks/torch.txt", {"torch": with_digests(runtime["torch"], cpu_digests(torch))})
    written("locks/cuda.txt", cuda)
    written("locks/delta.txt", added(delta, runtime))
    written("locks/docs.txt", added(docs, runtime))
    written("locks/dev.txt", added(dev, runtime))
    _digest_swift()
    return 0


def resolved(wanted: Iterable[str], known: Path) -> Entries:
    """Every package that these need on any system, in the releases that are known where they fit."""
    uv = [sys.executable, "-P", "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", OLDEST, "--generate-hashes"]
    output = known.with_suffix(".lock")
    output.write_text(known.read_text("utf-8"), "utf-8")  # uv keeps the releases that its output names already
    words = [*uv, "--no-config", "--no-annotate", "--no-header", "--only-binary", ":all:", "--output-file", str(output), "-"]
    subprocess.run(words, input="\n".join(wanted), text=True, check=True, stdout=subprocess.DEVNULL, cwd=output.parent)
    return parsed(output.read_text("utf-8"))


def _digest_swift() -> None:
    """Sources too: where no wheel of pyeclib fits, it is built."""
    head = [line for line in SWIFT.read_text("utf-8").splitlines() if line.startswith("#")]
    pins = [_line(one) for one in parsed(SWIFT.read_text("utf-8")).values()]
    words = [sys.executable, "-P", "-m", "uv", "pip", "compile", "--quiet", "--no-config", "--no-deps", "--generate-hashes"]
    words += ["--python-version", OLDEST, "--no-annotate", "--no-header", "-"]
    made = subprocess.run(words, input="\n".join(pins), text=True, check=True, stdout=subprocess.PIPE, cwd=ROOT.anchor)
    SWIFT.write_text("\n".join([*head, made.stdout.strip()]) + "\n", "utf-8")


def parsed(text: str) -> Entries:
    """The packages of a lock by name."""
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", text):
        if pin := _PIN.match(entry):
            found[pin[1]] = entry.rstrip()
    return found


def added(more: Entries, base: Entries) -> Entries:
    """What more has that base has not, or has for fewer systems. Two files of a lock may name the same release."""
    return {name: one for name, one in more.items() if name not in base or _line(one) != _line(base[name])}


def with_digests(entry: str, digests: Iterable[str]) -> str:
    """The entry with these digests too."""
    every = sorted({*_DIGEST.findall(entry), *digests})
    return " \\\n    --hash=sha256:".join([_line(entry), *every])


def cpu_digests(torch: str) -> set[str]:
    """Of PyTorch's CPU builds of the release that is locked; those that were locked where the index does not answer."""
    release = re.escape(_line(torch).partition("==")[2].split(" ")[0])
    try:
        with urllib.request.urlopen(CPU_INDEX, timeout=60) as answer:
            page = answer.read().decode("utf-8")
    except urllib.error.URLError as error:
        sys.stderr.write(f"{CPU_INDEX} does not answer ({error.reason}): the digests of CPU builds stay as they were\n")
        return set(_DIGEST.findall(torch))
    return set(re.findall(rf"torch-{release}(?:%2B|\+)cpu-[^\"#]+#sha256=([0-9a-f]{{64}})", page))


def written(name: str, entries: Entries) -> None:
    """Write one file of the lock."""
    head = f"# {_HEADS[name]} Written by `make lock`; installed with --require-hashes --no-deps."
    (ROOT / name).write_text("\n".join([head, *(entries[one] for one in sorted(entries))]) + "\n", "utf-8")


def _read(name: str) -> Entries:
    file = ROOT / name
    return parsed(file.read_text("utf-8")) if file.exists() else {}


def _line(entry: str) -> str:
    return entry.split(" \\\n", 1)[0].strip()


if __name__ == "__main__":
    sys.exit(main())
