"""A removal of rows in a process that is killed with SIGKILL at random changes of the root, and repeated."""

import signal
from collections.abc import Callable

import numpy as np

from fer_core.commit.verify import verify
from fer_core.storage.store import Store
from tests.faults.forked import Forked
from tests.faults.steps import Step, at_change


def killed_and_repeated(
    begin: Callable[[Step | None], Forked],
    store: Store,
    seed: tuple[int, int],
    changes: int,
    look: Callable[[], None] = lambda: None,
) -> None:
    """Up to two kills in a row, then a repetition.

    begin: starts the process, which dies at the step. changes: of an undisturbed removal, with those of its lease. look: what a reader does
    meanwhile.
    """
    draws, ends = np.random.default_rng(seed), []
    for _ in range(int(draws.integers(1, 3))):
        process = begin(at_change(int(draws.integers(1, changes)), bool(draws.integers(2))))
        while process.poll() is None:
            look()
        ends.append(process.wait())
        assert verify(store).problems == ()
    last = begin(None)
    assert last.wait() == 0, last.said()
    assert set(ends) <= {0, -signal.SIGKILL}
    assert ends[0] == -signal.SIGKILL
    assert verify(store).problems == ()
