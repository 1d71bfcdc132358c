"""The workers of a cluster as its client sees them: how many jobs they take, and whether they and the scheduler still answer."""

import time
from typing import Final

from distributed import Client

from fer_core.errors import ClusterError

IN_FLIGHT_A_WORKER: Final = 2
"""One that runs and one that is queued. Each takes memory here and at the scheduler."""
FEWEST_IN_FLIGHT: Final = 3
"""So that an adaptive cluster of one worker sees work for more of them."""


def nthreads(client: Client) -> dict[str, int]:
    """Threads of each worker. Nothing where the scheduler does not answer."""
    try:
        found: dict[str, int] = client.nthreads() if client.status == "running" else {}
    except (OSError, TimeoutError, ValueError):  # which the client itself has not noticed yet
        return {}
    return found


def scheduler_gone(client: Client) -> ClusterError:
    """The error of a client whose scheduler has closed the connection, or has forgotten its tasks."""
    address = getattr(client.scheduler, "address", "")
    return ClusterError(f"the Dask scheduler{' at ' + address if address else ''} went away")


class Capacity:
    """How many jobs the workers take at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._slots, self._refreshed_at = 0, -1e9
        self.most_workers = 0
        """The most workers seen at a time."""

    def threads(self) -> int:
        """Of all workers, now."""
        return sum(nthreads(self._client).values())

    @property
    def max_in_flight(self) -> int:
        """Most jobs in flight; refreshed every few seconds, because workers come and go."""
        if time.monotonic() - self._refreshed_at > 5.0:
            threads = nthreads(self._client)
            self._slots, self.most_workers = IN_FLIGHT_A_WORKER * sum(threads.values()), max(self.most_workers, len(threads))
            self._refreshed_at = time.monotonic()
        return max(self._slots, FEWEST_IN_FLIGHT)


class Liveness:
    """When a worker and the scheduler last answered."""

    def __init__(self, client: Client, patience: float) -> None:
        """patience: seconds that they may be gone."""
        self._client, self._patience = client, patience
        self._seen_at = time.monotonic()

    def seen(self) -> None:
        """One has answered."""
        self._seen_at = time.monotonic()

    def check(self) -> None:
        """ClusterError when no worker or no scheduler has answered for too long."""
        if nthreads(self._client):
            self.seen()
        elif time.monotonic() - self._seen_at > self._patience:
            what = "no Dask worker is left" if self._client.status == "running" else "the Dask scheduler does not answer"
            raise ClusterError(f"{what} (waited {self._patience:g} s)")
