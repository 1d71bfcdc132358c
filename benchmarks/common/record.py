"""What every benchmark of speed leaves behind: one JSON file with its figures, the machine and the command that repeats them."""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.throughput.whole_job import machine

SHOWN = 300
"""Longest command that is recorded completely."""


def write_record(folder: Path, name: str, figures: dict[str, Any], about: dict[str, Any]) -> Path:
    """`folder/name.json`. about: `machine()` as it was before the work, since the work keeps it busy."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]  # names of folders are not recorded
    folders = Path(sys.argv[0]).resolve().with_suffix("").parts
    module = ".".join(folders[folders.index("benchmarks") :]) if "benchmarks" in folders else folders[-1]
    command = shlex.join(["python", "-m", module, *words])[:SHOWN]
    ended = time.strftime("%Y-%m-%d", time.gmtime())
    file = folder / f"{name}.json"
    origin = {"command": command, "date": ended, "revision": revision(), "machine": about}
    file.write_text(
        json.dumps({**origin, **{name: _without_places(each) for name, each in figures.items()}}, indent=1) + "\n", encoding="utf-8"
    )
    print(f"written: {file}")
    return file


def _without_places(figures: object) -> object:
    """The same without the paths of manifests, which say where the benchmark kept its files."""
    if isinstance(figures, dict):
        return {name: _without_places(each) for name, each in figures.items() if name != "manifest"}
    return [_without_places(each) for each in figures] if isinstance(figures, list) else figures


def revision() -> str:
    """Of the repository, `-dirty` where files differ from it; empty outside of one."""
    command = ["git", "--no-optional-locks", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()
    except OSError:  # no git here
        return ""


__all__ = ["machine", "revision", "write_record"]
