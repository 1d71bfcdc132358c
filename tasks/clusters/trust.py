"""Which clusters a deployed run may use. A scheduler answers with pickled objects, Slurm's jobs run lines of shell, pods an image: whatever
names the cluster names the code. Who types it at a prompt may; a run that is asked of a server may not bring a new one along.
"""

import os
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from fer_core.errors import ClusterError, UsageError
from tasks.clusters.spec import AddressCluster, GpuCluster, Kind, KubernetesCluster, LocalCluster, SlurmCluster
from tasks.clusters.text_syntax import validation_message

ALLOWED_CLUSTERS: Final = "FERFLOW_ALLOWED_CLUSTERS"
"""Addresses of schedulers, with commas between, and `slurm` or `kubernetes`: what every deployed run may name."""

KINDS: Final = ("slurm", "kubernetes")


def allowed_clusters(given: Iterable[str]) -> tuple[str, ...]:
    """Addresses as they are compared. UsageError for what is none."""
    return tuple(dict.fromkeys(one if one in KINDS else _address(one) for one in (part.strip() for part in given) if one))


def is_trusted(spec: Kind) -> bool:
    """Whether it stays on this machine, whoever named it."""
    return isinstance(spec, LocalCluster | GpuCluster) or (isinstance(spec, AddressCluster) and _is_loopback(spec.address))


def refuse_new(spec: Kind, deployed: Kind | None) -> None:
    """ClusterError, which names the option, for a cluster that neither the deployment nor this process's environment has named.

    deployed: what the deployment itself says, with whose code, sizes aside, the run's is compared.
    """
    if is_trusted(spec) or (deployed is not None and _code(spec) == _code(deployed)):
        return
    word = spec.address if isinstance(spec, AddressCluster) else spec.kind
    if word in allowed_clusters(os.environ.get(ALLOWED_CLUSTERS, "").split(",")):
        return
    which = f"the cluster {word}" if isinstance(spec, AddressCluster) else f"a cluster of kind {word}"
    raise ClusterError(
        f"{which} is not named in this deployment: whatever names a cluster decides what code runs; allow it where runs are served, with "
        f"`ferflow up --allow-cluster {word}` or {ALLOWED_CLUSTERS}={word} in the worker's environment"
    )


def _code(spec: Kind) -> tuple[object, ...]:
    """The part of it that decides what code runs."""
    if isinstance(spec, AddressCluster):
        return spec.kind, spec.address
    if isinstance(spec, SlurmCluster):
        return spec.kind, spec.folder, spec.python, tuple(spec.directives), tuple(spec.setup)
    if isinstance(spec, KubernetesCluster):
        return spec.kind, spec.image, spec.namespace, spec.secret
    return (spec.kind,)


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _address(text: str) -> str:
    try:
        return AddressCluster(address=text).address
    except ValidationError as error:
        raise UsageError(
            f"--allow-cluster takes tcp://host:port, tls://host:port, slurm or kubernetes: {validation_message(error)}"
        ) from error
