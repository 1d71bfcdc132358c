"""One seed of the campaign: a night is killed, goes on, and everything is looked at."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from fer_core.commit.publish import is_committed
from fer_core.storage.paths import plan_file
from fer_core.storage.store import Store
from tests.faults.chances import FORKED, Blow, Case
from tests.faults.forked import Forked
from tests.faults.nights import SECOND, Nights, phase, problems
from tests.faults.readers import Reader
from tests.faults.steps import kill
from tests.faults.surroundings import Command, Surroundings

GONE_SECONDS = 10.0
"""By then no process of a killed command runs any more (contract)."""
UNDISTURBED = "as undisturbed"


@dataclass(frozen=True)
class Line:
    """One kill, as the log has it."""

    seed: int
    kill: int
    """Its number within the seed."""
    store: str
    setting: str
    command: str
    """`label` or `label --resume`."""
    kind: str
    aim: str
    moment: str
    seconds: float
    """From the command's start to its end."""
    step: str
    """How far it had come, told from the root; `ended first` where the kill came too late."""
    then: str
    """`resume`, `next night`, `again` (the run was not started: the same command)."""
    gone_seconds: float
    """Until no process of it ran any more."""
    questions: int = 0
    """That the reader asked of this seed's root."""
    result: str = UNDISTURBED


@dataclass(frozen=True)
class Pace:
    """How long a night takes undisturbed."""

    whole: float
    planned: float
    """Seconds from its start until its plan is written."""


@dataclass(frozen=True)
class Campaign:
    """What all seeds share."""

    around: Surroundings
    nights: Nights

    def night(self, setting: str, root: str, which: str, run_id: str, workers: int, blow: Blow | None = None) -> Forked | Command:
        """A night that begins now. which: `--run-id` or `--resume`."""
        step = blow.step if blow is not None else None
        if setting in FORKED:
            named = {which.removeprefix("--").replace("-", "_"): run_id}
            params = self.nights.params(root, cluster=self.around.scheduler or "local", **named)
            return Forked(params, self.around.folder / f"said-{Path(root).name}.txt", setting, step)
        where = ["--cluster", self.around.scheduler] if setting == "cluster" else ["--workers", workers]
        return self.command(setting, self.nights.words(root, which, run_id, *where), blow)

    def command(self, setting: str, words: list[str], blow: Blow | None = None) -> Forked | Command:
        """A command; one that needs neither server nor workers need not start anew."""
        if setting in FORKED:
            step, kind = (None, "command") if blow is None else (blow.step, blow.kind)
            return Forked(words, self.around.folder / "said-commands.txt", "", step, kind)
        extra = {}
        if setting != "alone" and self.around.prefect:
            extra["PREFECT_API_URL"] = self.around.prefect
        if blow is not None and blow.step is not None:
            extra |= {"DEADLY_STEP": blow.step.told(), "DEADLY_KIND": blow.kind}
        return self.around.start(words, extra)


class Trial:
    """One seed."""

    def __init__(self, campaign: Campaign, case: Case, root: str, pace: Pace) -> None:
        self.campaign, self.case, self.root, self.pace = campaign, case, root, pace
        self.store: Store = campaign.nights.begin(root)
        self.wrong: list[str] = []
        self._lines: list[tuple[Line, Future[float]]] = []
        self._abandoned: frozenset[str] = frozenset()
        self._pool = ThreadPoolExecutor(4)

    def run(self) -> list[Line]:
        """Everything that is drawn, then what was found."""
        reader = Reader(self.root)
        self._label()
        read = reader.ended()
        self.wrong += [f"a reader saw: {wrong}" for wrong in read["wrong"]]
        lines = [replace(line, gone_seconds=round(gone.result(), 2)) for line, gone in self._lines]
        self._pool.shutdown()
        self.wrong += [f"processes outlived kill {line.kill}" for line in lines if line.gone_seconds >= GONE_SECONDS]
        result = "; ".join(dict.fromkeys(self.wrong)) or UNDISTURBED
        return [replace(line, questions=int(read["questions"]), result=result) for line in lines]

    def _label(self) -> None:
        run_id, which = SECOND, "--run-id"
        for number, blow in enumerate(self.case.blows, 1):
            night = self._night(which, run_id, blow)
            struck = self._strike(night, blow, lambda run_id=run_id: self.store.exists(plan_file(run_id)))
            then = blow.then
            if then == "resume" and not self.store.exists(plan_file(run_id)):
                then = "again"
            step = phase(self.store, run_id) if struck else "ended first"
            self._note(number, "label --resume" if which == "--resume" else "label", blow, night, step, then)
            if then == "next night":
                self._abandoned |= {run_id}
                run_id, which = f"{SECOND}-{number + 1}", "--run-id"
            else:
                which = "--run-id" if then == "again" else "--resume"
        self._must_end(self._night(which, run_id), f"{which} {run_id}")
        self._look("labelled")

    def _night(self, which: str, run_id: str, blow: Blow | None = None) -> Forked | Command:
        return self.campaign.night(self.case.setting, self.root, which, run_id, self.case.workers, blow)

    def _strike(self, running: Forked | Command, blow: Blow, begun: Callable[[], bool]) -> bool:
        """Wait for the command's end, or bring it about. False where it ended by itself."""
        if blow.share is not None:
            seconds = blow.share * self.pace.whole
            if blow.aim == "work":
                while not begun() and running.poll() is None:
                    time.sleep(0.02)
                seconds = time.monotonic() - running.started + blow.share * (self.pace.whole - self.pace.planned)
            time.sleep(max(0.0, running.started + seconds - time.monotonic()))
            if running.poll() is None:
                with suppress(ProcessLookupError):
                    kill(blow.kind, running.pid)
        code = running.wait()
        if code not in (0, -9):
            self.wrong.append(f"exit code {code}: {running.said()}")
        return code == -9

    def _note(self, number: int, name: str, blow: Blow, running: Forked | Command, step: str, then: str) -> None:
        ended = time.monotonic()
        case, seconds = self.case, round(ended - running.started, 2)
        line = Line(case.seed, number, case.store, case.setting, name, blow.kind, blow.aim, blow.moment(), seconds, step, then, 0.0)
        self._lines.append((line, self._pool.submit(running.gone, ended)))

    def _must_end(self, running: Forked | Command, what: str) -> None:
        code = running.wait()
        if code:
            self.wrong.append(f"{what}: exit code {code}: {running.said()}")

    def _look(self, when: str) -> None:
        """Rows, counts, staging and claims, by what manifests and folders say."""
        left = frozenset(run_id for run_id in self._abandoned if not is_committed(self.store, run_id))
        found = problems(self.campaign.nights, self.store, same_runs=not self._abandoned, abandoned=left)
        self.wrong += [f"{when}: {problem}" for problem in found]
