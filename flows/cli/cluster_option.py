"""`--cluster SPEC`, of the commands that have workers."""

from typing import Final

CLUSTER: Final = (
    "who works: local (default), local:N, local:MIN-MAX (as many processes as there is work for), gpu or gpu:N (one process a GPU), "
    "tcp://host:8786 or tls://host:8786 (a scheduler that runs; certificates as Dask is configured), "
    "slurm:FILE, kubernetes:FILE or FILE (JSON: the fields of the deployment's form)"
)
