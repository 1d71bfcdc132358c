"""A part of a benchmark in a process of its own, so that its memory and its imports are its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


def answer_of(module: str, *arguments: object) -> dict[str, Any]:
    """The JSON object that `python -m module` prints, {} if it prints nothing. CalledProcessError where it fails."""
    path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    words = [sys.executable, "-P", "-m", module, *map(str, arguments)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})
    said: dict[str, Any] = json.loads(done.stdout or "{}")
    return said
