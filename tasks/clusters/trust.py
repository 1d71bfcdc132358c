"""Which clusters a deployed run may use. A scheduler answers with pickled objects, Slurm's jobs run lines of shell, pods an image: whatever
names the cluster names the code. Who types it at a prompt may; a run that is asked of a server may not bring a new one along.
"""

import os
from collections.abc import Iterable
from typing import Final

from pydantic import ValidationError

from fer_core.errors import ClusterError, UsageError
from tasks.clusters.address import AddressCluster
from tasks.clusters.base import ClusterBackend
from tasks.clusters.registry import BACKENDS
from tasks.clusters.text_syntax import validation_message

ALLOWED_CLUSTERS: Final = "FERFLOW_ALLOWED_CLUSTERS"
"""Addresses of schedulers, with commas between, and `slurm` or `kubernetes`: what every deployed run may name."""

KINDS: Final = tuple(kind for kind, backend in BACKENDS.items() if backend.allowed_name is ClusterBackend.allowed_name)
"""Kinds of which one word allows all clusters: those that do not have a name for each."""


def allowed_clusters(given: Iterable[str]) -> tuple[str, ...]:
    """Addresses as they are compared. UsageError for what is none."""
    return tuple(dict.fromkeys(one if one in KINDS else _address(one) for one in (part.strip() for part in given) if one))


def refuse_new(spec: ClusterBackend, deployed: ClusterBackend | None) -> None:
    """ClusterError, which names the option, for a cluster that neither the deployment nor this process's environment has named.

    deployed: what the deployment itself says, with whose code, sizes aside, the run's is compared.
    """
    word = spec.allowed_name()
    if word is None or (deployed is not None and spec.code() == deployed.code()):
        return
    if word in allowed_clusters(os.environ.get(ALLOWED_CLUSTERS, "").split(",")):
        return
    which = f"a cluster of kind {word}" if word == spec.kind else f"the cluster {word}"
    raise ClusterError(
        f"{which} is not named in this deployment: whatever names a cluster decides what code runs; allow it where runs are served, with "
        f"`ferflow up --allow-cluster {word}` or {ALLOWED_CLUSTERS}={word} in the worker's environment"
    )


def _address(text: str) -> str:
    try:
        return AddressCluster(address=text).address
    except ValidationError as error:
        names = f"{', '.join(('tcp://host:port', 'tls://host:port', *KINDS[:-1]))} or {KINDS[-1]}"
        raise UsageError(f"--allow-cluster takes {names}: {validation_message(error)}") from error
