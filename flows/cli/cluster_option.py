"""`--cluster SPEC`, of the commands that have workers."""

from typing import Final

CLUSTER: Final = (
    "workers: local (default), local:N, local:MIN-MAX (adaptive number of processes), gpu or gpu:N (one process a GPU), "
    "tcp://host:8786 or tls://host:8786 (an existing scheduler; certificates from Dask's configuration), "
    "slurm:FILE, kubernetes:FILE or FILE (JSON: the fields of the deployment's form)"
)
