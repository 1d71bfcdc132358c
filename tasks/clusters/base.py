"""`ClusterBackend`: what each kind of cluster gives. One file a kind, and a row in `registry`."""

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
"""Workers that anybody can ask for."""
GPU: Final = "GPU"
"""Dask's name for what a worker has one of when a GPU is its own, and a shard needs one of there."""

Line = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\r\n]+$")]
Number = Annotated[int, Field(ge=1, le=MOST)]


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


def min_size(size: int | Adaptive) -> int:
    """How many there are to begin with."""
    return size.minimum if isinstance(size, Adaptive) else size


def max_size(size: int | Adaptive) -> int:
    """How many there can be."""
    return size.maximum if isinstance(size, Adaptive) else size


def _one_choice(schema: dict[str, Any]) -> None:
    """Pages show a field with choices as a menu, and a constant as a text to be typed."""
    schema["properties"]["kind"]["enum"] = [schema["properties"]["kind"]["const"]]


class ClusterBackend(BaseModel):
    """A cluster: its fields are the form that a page shows and a deployment stores. Only `open_client` and `start_early` load Dask."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, json_schema_extra=_one_choice)

    kind: str
    package: ClassVar[str | None] = None
    """What the extra of the kind's name installs."""

    @classmethod
    def from_words(cls, text: str) -> Self | None:
        """As the command line has it in words. None where the words are not of this kind, as those of most are in a file."""
        return None

    def as_text(self) -> str:
        """What `from_text` reads back as the same."""
        return json.dumps({"kind": self.kind, **self.model_dump(mode="json", exclude_defaults=True)})

    def with_workers(self, workers: int | None) -> Self:
        """The same with the number of local processes that `--workers` says. UsageError where there are none to count."""
        if workers is None:
            return self
        raise UsageError(f"--workers is for local clusters: the number is part of a {self.kind} cluster's own description")

    @abstractmethod
    def max_concurrency(self) -> int:
        """Shards that can be worked on at a time. 1 for a scheduler that runs elsewhere: it is not asked."""

    def planning_concurrency(self) -> int:
        """The same for cutting shards."""
        return self.max_concurrency()

    def memory_warning(self) -> str | None:
        """What to say where the workers may need more memory than there is, with pictures as large as are read at all."""
        return None

    def needs(self) -> dict[str, float]:
        """What a shard takes up of a worker, in Dask's words: one GPU where workers have one each."""
        return {}

    def allowed_name(self) -> str | None:
        """What `--allow-cluster` must name for deployed runs to use it. None where it stays on this machine, whoever named it."""
        return self.kind

    def code(self) -> tuple[object, ...]:
        """The part of it that decides what code runs: all of it, where the kind does not leave anything aside."""
        return (self,)

    def check(self) -> None:
        """ClusterError in one line for what keeps workers from starting, as far as it can be told before anything starts."""
        if self.package is not None and find_spec(self.package) is None:
            name = self.package.replace("_", "-")
            raise ClusterError(f"clusters of kind {self.kind} need the package {name}: pip install 'ferflow[{self.kind}]'")

    def start_early(self, images: int, shard_size: int | None, verbose: bool = False) -> AbstractContextManager[None]:
        """Inside, workers of this machine are on their way, none without a shard of its own when there are at most so many images.

        The first `open_client` takes them, whatever size it asks for. Of other kinds of clusters nothing is started.
        """
        return nullcontext()

    @abstractmethod
    def open_client(self) -> "AbstractContextManager[Client]":
        """A client with at least one worker behind it, which has this release. ClusterError in one line when there is none."""
