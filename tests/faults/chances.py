"""What is drawn for a seed: where the tables lie, who works, when and how the run is killed and what follows. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tests.faults.steps import KINDS, Step, at_change

STORES: Final = ("local", "s3")
SETTINGS: Final = {"workers": 0.6, "flow": 0.25, "cluster": 0.05, "server": 0.05, "alone": 0.05}
"""How often each is drawn. `workers`: the flow's tasks in a process that has everything imported, on Dask workers that stay. `flow`: the
flow itself, in such a process, with an orchestrator that stays. `cluster`: the command, started anew, on both. `server`: the command on
that orchestrator, with workers of its own. `alone`: the command that starts everything itself, as a person types it."""
FORKED: Final = ("workers", "flow")
"""These have one process only."""
CHANGES: Final = 22
"""Changes of the root that a night's command makes at most: two writes of its claim, the plan, four merged parts and their receipts,
what was begun, four moves, the manifest, removals."""
WORKER_CHANGES: Final = 12
"""Those of its workers: two parts and a receipt a shard."""


@dataclass(frozen=True)
class Blow:
    """One kill. Exactly one of `share` and `step` is given."""

    kind: str
    """See `steps.KINDS`."""
    aim: str
    """`clock`: a moment between start and end. `work`: one between plan and end. `change`, `worker`: a change of the root, by whom it is
    made."""
    share: float | None
    """Of the time that it takes undisturbed."""
    step: Step | None
    then: str
    """`resume` (the same run) or `next night` (another run)."""

    def moment(self) -> str:
        """When it falls, as the log has it."""
        if self.share is not None:
            return f"{100 * self.share:.0f} %"
        assert self.step is not None
        return f"{'after' if self.step.after else 'before'} change {self.step.number}"


@dataclass(frozen=True)
class Case:
    """One seed."""

    seed: int
    store: str
    """`local` or `s3`."""
    setting: str
    """See `SETTINGS`."""
    workers: int
    """That it starts itself."""
    blows: tuple[Blow, ...]


def drawn(seed: int, settings: Sequence[str] = tuple(SETTINGS), stores: Sequence[str] = STORES) -> Case:
    """The same for a seed and a choice of settings and storages each time."""
    draws = np.random.default_rng([seed, 20261125])
    store = str(draws.choice(STORES, p=[0.8, 0.2]))
    store = store if store in stores else stores[0]
    shares = np.array([SETTINGS[setting] for setting in settings])
    setting = str(draws.choice(settings, p=shares / shares.sum()))
    count = int(draws.choice([1, 2, 3], p=[0.65, 0.25, 0.1]))
    blows = tuple(_blow(draws, setting) for _ in range(count))
    return Case(seed, store, setting, int(draws.integers(1, 3)), blows)


def _blow(draws: np.random.Generator, setting: str) -> Blow:
    kind = "command" if setting in FORKED else str(draws.choice(KINDS))
    then = str(draws.choice(["resume", "next night"], p=[0.65, 0.35]))
    aims = ["clock", "work", "change"] if setting in (*FORKED, "cluster") else ["clock", "work", "change", "worker"]
    aim, after = str(draws.choice(aims)), bool(draws.integers(2))
    match aim:
        case "clock":
            return Blow(kind, aim, float(draws.uniform()), None, then)
        case "work":
            return Blow(kind, aim, float(draws.uniform()), None, then)
        case "change":
            return Blow(kind, aim, None, at_change(int(draws.integers(1, CHANGES)), after), then)
        case _:
            return Blow(kind, aim, None, at_change(int(draws.integers(1, WORKER_CHANGES)), after, in_worker=True), then)
