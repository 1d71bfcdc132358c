"""The kinds of Dask clusters on which shards can run, as forms that a page shows and a deployment stores."""

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fer_core.storage.uri import holds_credentials

MOST: Final = 4096
"""Workers that anybody can ask for."""
_ADDRESS: Final = re.compile(r"(tcp|tls|ws|wss|ucx)://[^\s/@]+:\d+")

Line = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\r\n]+$")]


def _one_choice(schema: dict[str, Any]) -> None:
    """Pages show a field with choices as a menu, and a constant as a text to be typed."""
    schema["properties"]["kind"]["enum"] = [schema["properties"]["kind"]["const"]]


class _Kind(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, json_schema_extra=_one_choice)


class Adaptive(BaseModel):
    """Between two numbers, as many as there is work for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum: int = Field(default=1, ge=1, le=MOST, title="At least")
    maximum: int = Field(ge=1, le=MOST, title="At most")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"at least {self.minimum} is more than at most {self.maximum}")
        return self


Number = Annotated[int, Field(ge=1, le=MOST)]


class LocalCluster(_Kind):
    """Processes on this machine."""

    model_config = ConfigDict(title="Local")

    kind: Literal["local"] = Field(default="local", title="Kind")
    processes: Number | Adaptive | None = Field(
        default=None,
        title="Processes",
        description="A number, or an adaptive number between two; one a core if none is given.",
    )
    threads: int = Field(
        default=1, ge=1, le=64, title="Threads", description="Shards that one process works on at a time. Processes are faster."
    )


class AddressCluster(_Kind):
    """A Dask cluster that runs already."""

    model_config = ConfigDict(title="Address")

    kind: Literal["address"] = Field(default="address", title="Kind")
    address: str = Field(
        title="Scheduler",
        description="tls://host:8786. Behind tcp://host:8786 every client is accepted, and a client runs code as the workers' user.",
        examples=["tcp://scheduler:8786", "tls://scheduler:8786"],
    )
    ca_file: str | None = Field(
        default=None, title="CA certificate", description="File (PEM) on the machine of the run. If empty, from Dask's configuration."
    )
    cert_file: str | None = Field(default=None, title="Certificate", description="File (PEM) with which the run proves who it is.")
    key_file: str | None = Field(
        default=None, title="Key", description="File (PEM) of the certificate's key; empty where both are in one file."
    )

    @field_validator("address")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        if holds_credentials(value) or "@" in value:
            raise ValueError("credentials do not belong in an address; put them into the environment")
        if not _ADDRESS.fullmatch(value.rstrip("/")):
            raise ValueError("a scheduler's address is tcp://host:port or tls://host:port")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _files_for_tls(self) -> Self:
        if (self.ca_file or self.cert_file or self.key_file) and not self.encrypted:
            raise ValueError("certificates are for tls:// addresses")
        return self

    @property
    def encrypted(self) -> bool:
        """Whether both ends prove who they are."""
        return self.address.startswith(("tls://", "wss://"))


class GpuCluster(_Kind):
    """One process for each GPU of this machine."""

    model_config = ConfigDict(title="GPU")

    kind: Literal["gpu"] = Field(default="gpu", title="Kind")
    gpus: Number | None = Field(
        default=None, title="GPUs", description="How many to use; all that CUDA_VISIBLE_DEVICES lets be seen if empty."
    )


class SlurmCluster(_Kind):
    """Jobs that Slurm starts, submitted from the machine of the run."""

    model_config = ConfigDict(title="Slurm")

    kind: Literal["slurm"] = Field(default="slurm", title="Kind")
    jobs: Number | Adaptive = Field(default=1, title="Jobs", description="A number, or an adaptive number between two.")
    partition: Line | None = Field(default=None, title="Partition")
    account: Line | None = Field(default=None, title="Account")
    cores: int = Field(default=1, ge=1, le=1024, title="Cores a job", description="With one process each; one process in all on a GPU.")
    memory: str = Field(default="4GB", pattern=r"^\d+ ?(M|MB|MiB|G|GB|GiB)$", title="Memory a job")
    walltime: str = Field(default="04:00:00", pattern=r"^[\d:-]+$", title="Wall time", description="Longest that a job may run.")
    gpu: bool = Field(default=False, title="A GPU a job")
    folder: Line | None = Field(
        None,
        title="Shared folder",
        description="Needed; seen by all nodes at the same path. For logs, and certificates of this run that keep other users out.",
    )
    interface: Line | None = Field(default=None, title="Network interface", description="By which nodes reach each other, such as ib0.")
    python: Line | None = Field(default=None, title="Python", description="With ferflow, on the nodes; at this run's own path if empty.")
    directives: list[Line] = Field(default=[], title="More directives", description="Lines after #SBATCH, such as --qos=night.")
    setup: list[Line] = Field(default=[], title="Before the worker", description="Lines of shell, such as module load cuda.")
    patience: int = Field(default=600, ge=1, le=604_800, title="Seconds for a first job", description="How long the queue may take.")


class KubernetesCluster(_Kind):
    """Pods, made by Dask's operator."""

    model_config = ConfigDict(title="Kubernetes")

    kind: Literal["kubernetes"] = Field(default="kubernetes", title="Kind")
    image: Line = Field(
        title="Image", description="Container image with this release of ferflow.", examples=["registry.example/ferflow:0.1.0"]
    )
    pods: Number | Adaptive = Field(default=1, title="Pods", description="Of one process each: a number, or between two.")
    namespace: Line | None = Field(default=None, title="Namespace", description="If empty, from the context of kubectl.")
    cpu: float = Field(default=1.0, gt=0, le=1024, title="Cores a pod")
    memory: str = Field(default="4Gi", pattern=r"^\d+(Mi|Gi|M|G)$", title="Memory a pod")
    gpu: bool = Field(default=False, title="A GPU a pod")
    secret: Line | None = Field(
        None,
        title="Secret",
        description="Name of a Kubernetes secret; its entries are the pods' environment: keys of the object store.",
    )
    patience: int = Field(default=600, ge=1, le=604_800, title="Seconds for a first pod", description="How long it may take.")


Kind = LocalCluster | AddressCluster | GpuCluster | SlurmCluster | KubernetesCluster
