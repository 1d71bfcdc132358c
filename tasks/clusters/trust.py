"""Clusters that a deployed run may use. A scheduler sends pickled objects, Slurm jobs run shell commands, pods run an image: the choice of
a cluster determines which code runs. The command line may choose any cluster; a run through a server may not name a new one.
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
"""Comma-separated scheduler addresses, `slurm` or `kubernetes`: the clusters that every deployed run may name."""

KINDS: Final = tuple(kind for kind, backend in BACKENDS.items() if backend.allowed_name is ClusterBackend.allowed_name)
"""Kinds that are allowed as a whole, by the kind's name, because their clusters have no names of their own."""


def allowed_clusters(given: Iterable[str]) -> tuple[str, ...]:
    """Normalised addresses and kinds. UsageError for an invalid address."""
    return tuple(dict.fromkeys(one if one in KINDS else _address(one) for one in (part.strip() for part in given) if one))


def refuse_new(spec: ClusterBackend, deployed: ClusterBackend | None) -> None:
    """ClusterError, which names the option, for a cluster that neither the deployment nor this process's environment allows.

    deployed: the cluster of the deployment; the run's cluster is allowed if `code` is the same, whatever its size.
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
