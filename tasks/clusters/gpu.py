"""Dask workers with one local GPU each. GPUs are counted with nvidia-smi: a CUDA library would create a context on them."""

import os
import re
import subprocess
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, Self

from pydantic import ConfigDict, Field

from fer_core.errors import ClusterError
from tasks.clusters.base import GPU, Number
from tasks.clusters.early_start import LocalBackend, stop_local
from tasks.clusters.local import configure, connected, options

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

DRIVER_SECONDS: Final = 30
"""Timeout of nvidia-smi. The driver is loaded by the call unless another process keeps it loaded."""
_WORDS: Final = re.compile(r"gpu(?::([1-9]\d{0,3}))?")


def visible_gpus(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The GPUs in CUDA_VISIBLE_DEVICES, in its order; if it is unset, the UUIDs of all GPUs from nvidia-smi. Empty without GPUs."""
    said = (os.environ if environment is None else environment).get("CUDA_VISIBLE_DEVICES")
    if said is None:
        return _installed()
    seen = []
    for name in (part.strip() for part in said.split(",")):
        if not name or name == "-1" or name in seen:  # CUDA stops at the first invalid entry too
            break
        seen.append(name)
    return tuple(seen) if seen and _installed() else ()


def chosen_gpus(count: int | None) -> tuple[str, ...]:
    """The first `count` GPUs of `visible_gpus`, all if None. ClusterError if there are none or too few."""
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
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=DRIVER_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in answer.splitlines() if line.strip())


class GpuCluster(LocalBackend):
    """One process per GPU of this machine."""

    model_config = ConfigDict(title="GPU")

    kind: Literal["gpu"] = Field(default="gpu", title="Kind")
    gpus: Number | None = Field(
        default=None, title="GPUs", description="How many to use. If empty, all that CUDA_VISIBLE_DEVICES makes visible."
    )

    @classmethod
    def from_words(cls, text: str) -> Self | None:
        """`gpu` and `gpu:N`."""
        match = _WORDS.fullmatch(text)
        return match and cls(gpus=int(match[1]) if match[1] else None)

    def as_text(self) -> str:
        return f"gpu:{self.gpus}" if self.gpus else "gpu"

    def max_concurrency(self) -> int:
        return self.gpus or max(1, len(visible_gpus()))

    def needs(self) -> dict[str, float]:
        return {GPU: 1}

    def check(self) -> None:
        chosen_gpus(self.gpus)

    def start(self, verbose: bool) -> "tuple[Client, LocalCluster]":
        """Start one process per GPU; each process sees only its own GPU. ClusterError if PyTorch cannot use the GPUs."""
        from distributed import LocalCluster
        from distributed.system import MEMORY_LIMIT

        gpus = chosen_gpus(self.gpus)
        configure(verbose)
        given = {"memory_limit": MEMORY_LIMIT // len(gpus), "resources": self.needs(), **options(verbose)}
        cluster = LocalCluster(n_workers=0, threads_per_worker=1, **given)
        for name, gpu in enumerate(gpus):  # set in the environment, before the worker imports any library
            alone = {**cluster.new_spec["options"], "env": {"CUDA_VISIBLE_DEVICES": gpu}}
            cluster.worker_spec[name] = {**cluster.new_spec, "options": alone}
        cluster.scale(len(gpus))
        client = connected(cluster)
        try:
            _check(client)
        except BaseException:
            stop_local(client, cluster)
            raise
        return client, cluster


def _check(client: "Client") -> None:
    asked = [client.submit(cuda, key=f"cuda-{number}", workers=[at], pure=False) for number, at in enumerate(client.nthreads())]
    for told in client.gather(asked):
        if told is not None:
            raise ClusterError(f"PyTorch cannot use the GPUs of this machine: {told}")


def cuda() -> str | None:
    """The reason why PyTorch cannot use a GPU in this process; None if it can."""
    import torch

    if torch.cuda.is_available():
        return None
    return f"torch {torch.__version__} is built without CUDA" if torch.version.cuda is None else "its driver does not answer"
