"""`ClusterBackend`: the interface of all kinds of clusters. Each kind has a module and an entry in `registry`."""

import json
from abc import abstractmethod
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fer_core.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from distributed import Client

MOST: Final = 4096
"""Largest number of workers of a cluster."""
GPU: Final = "GPU"
"""Name of the Dask resource for GPUs: a worker with a GPU of its own has 1, and a shard on such a cluster needs 1."""

Line = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\r\n]+$")]
Number = Annotated[int, Field(ge=1, le=MOST)]


class Adaptive(BaseModel):
    """An adaptive number, between two bounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum: int = Field(default=1, ge=1, le=MOST, title="At least")
    maximum: int = Field(ge=1, le=MOST, title="At most")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"at least {self.minimum} is more than at most {self.maximum}")
        return self


def min_size(size: int | Adaptive) -> int:
    """Initial number of workers or jobs."""
    return size.minimum if isinstance(size, Adaptive) else size


def max_size(size: int | Adaptive) -> int:
    """Largest number of workers or jobs."""
    return size.maximum if isinstance(size, Adaptive) else size


def _one_choice(schema: dict[str, Any]) -> None:
    """Add an `enum` to the constant field `kind`: Prefect's pages show an `enum` as a menu, and a `const` as a text field."""
    schema["properties"]["kind"]["enum"] = [schema["properties"]["kind"]["const"]]


class ClusterBackend(BaseModel):
    """A cluster. Its fields are the form on Prefect's pages and in deployments. Only `open_client` and `start_early` import Dask."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, json_schema_extra=_one_choice)

    kind: str
    package: ClassVar[str | None] = None
    """Module that the kind needs, installed by the extra of the same name as the kind."""

    @classmethod
    def from_words(cls, text: str) -> Self | None:
        """Parse the short form of the command line. None if it is not of this kind; some kinds have no short form, only a file."""
        return None

    def as_text(self) -> str:
        """Text from which `from_text` makes an equal cluster."""
        return json.dumps({"kind": self.kind, **self.model_dump(mode="json", exclude_defaults=True)})

    def with_workers(self, workers: int | None) -> Self:
        """A copy with the number of local processes of `--workers`. UsageError for kinds without local processes."""
        if workers is None:
            return self
        raise UsageError(f"--workers is for local clusters: the number is part of a {self.kind} cluster's own description")

    @abstractmethod
    def max_concurrency(self) -> int:
        """Number of shards that run concurrently. 1 for an existing scheduler, which is not contacted."""

    def planning_concurrency(self) -> int:
        """The concurrency for which shards are planned."""
        return self.max_concurrency()

    def memory_warning(self) -> str | None:
        """A warning if the workers may need more memory than the machine has, with images of the largest allowed size."""
        return None

    def needs(self) -> dict[str, float]:
        """Dask resources that a shard needs: one GPU if each worker has one."""
        return {}

    def allowed_name(self) -> str | None:
        """Name that `--allow-cluster` must contain for deployed runs. None for clusters on this machine, which are always allowed."""
        return self.kind

    def code(self) -> tuple[object, ...]:
        """The fields that determine which code runs. All fields by default; a kind may leave some out."""
        return (self,)

    def check(self) -> None:
        """Check requirements before anything starts. ClusterError, in one line, if workers cannot start."""
        if self.package is not None and find_spec(self.package) is None:
            name = self.package.replace("_", "-")
            raise ClusterError(f"clusters of kind {self.kind} need the package {name}: pip install 'ferflow[{self.kind}]'")

    def start_early(self, images: int, shard_size: int | None, verbose: bool = False) -> AbstractContextManager[None]:
        """Start local workers in the background for the `with` block, at most one per shard of `images` images.

        `open_client` then uses these workers, whatever size it is given. Other kinds of clusters start nothing.
        """
        return nullcontext()

    @abstractmethod
    def open_client(self) -> "AbstractContextManager[Client]":
        """A client with at least one worker; all workers run this release. ClusterError, in one line, if there is none."""
