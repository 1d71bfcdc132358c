"""The GPUs of this machine, asked for without loading a library that would take hold of one."""

import os
import subprocess
from collections.abc import Mapping
from typing import Final

from fer_core.errors import ClusterError

SECONDS: Final = 30
"""How long the driver may take to answer: it loads itself where nothing else keeps it loaded."""


def visible_gpus(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """In order, as CUDA_VISIBLE_DEVICES names them now, else all by the UUIDs that nvidia-smi tells. Empty without any."""
    said = (os.environ if environment is None else environment).get("CUDA_VISIBLE_DEVICES")
    if said is None:
        return _installed()
    seen = []
    for name in (part.strip() for part in said.split(",")):
        if not name or name == "-1" or name in seen:  # CUDA itself looks no further
            break
        seen.append(name)
    return tuple(seen) if seen and _installed() else ()


def chosen_gpus(count: int | None) -> tuple[str, ...]:
    """So many, all if None, as `visible_gpus` names them. ClusterError where there are none, or not enough."""
    found, said = visible_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if not found:
        hint = "" if said is None else f", and CUDA_VISIBLE_DEVICES is {said!r}"
        raise ClusterError(f"no GPU can be used on this machine (nvidia-smi lists {'none' if not _installed() else 'some'}{hint})")
    if count is not None and count > len(found):
        raise ClusterError(f"{count} GPUs are requested, and {len(found)} can be used on this machine")
    return found[:count]


def _installed() -> tuple[str, ...]:
    asked = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in answer.splitlines() if line.strip())
