"""Nights that are killed: at every step that has a name, at random, and as whole commands with workers; and what is there in the end.

The campaign (`python -m tests.faults.kills`) does the same outside CI, longer; see docs/explanation/faults.md.
"""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fer_core.commit.publish import is_committed, read_manifest
from fer_core.storage.paths import STAGING, plan_file
from tests.faults.chances import SETTINGS, drawn
from tests.faults.forked import SERVER, Forked
from tests.faults.nights import SECOND, phase, prepare, problems
from tests.faults.readers import Reader
from tests.faults.steps import KINDS, NIGHT, Step, at_change
from tests.faults.surroundings import REPOSITORY, Surroundings
from tests.support.orchestrator import with_database

ABANDONED = frozenset({"abandoned"})
REACHED = {
    "before the plan": "leased",
    "after the plan": "planned",
    "in a shard": "1 of 4 shards staged",
    "before a receipt": "1 of 4 shards staged",
    "after staging": "4 of 4 parts coalesced",
    "in the coalescing": "4 of 4 shards staged",
    "before a coalesced receipt": "4 of 4 shards staged",
    "after coalescing": "4 of 4 parts coalesced",
    "between parts": "1 of 4 parts published",
    "between tables": "2 of 4 parts published",
    "before the manifest": "4 of 4 parts published",
    "in the manifest's writing": "4 of 4 parts published",
    "after the manifest": "committed, staging is left",
    "in the removal of staging": "committed, staging is left",
    "in the collection of abandoned staging": "committed",
    "before the lease is given back": "committed",
}
"""Where each step is, told from the root."""
BOTH = ("after staging", "between parts", "before the manifest")
"""Steps after which a run is both resumed and followed; after the others it is one or the other, in turn."""
FOLLOWED = [
    (name, then)
    for number, name in enumerate(NIGHT)
    for turn, then in enumerate(("resume", "next night"))
    if name in BOTH or turn == number % 2
]


@pytest.fixture(scope="module")
def around(tmp_path_factory, prefect_database):
    """A home, in which Prefect was started once. Processes that are forked import everything once, in the same one."""
    with Surroundings(tmp_path_factory.mktemp("around")) as around, pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "PYTHONPATH"):
            patch.setenv(name, around.environment()[name])
        with_database(around.home, prefect_database)
        ended = SERVER.Process(target=os.getpid)
        ended.start()
        ended.join()
        yield around


@pytest.fixture(scope="module")
def nights(around, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nights")
    return prepare(folder, lambda params: _ends(Forked(params, folder / "said.txt", "one")))


@pytest.fixture
def root(nights, tmp_path):
    """After the first night, with what a run has staged that was killed weeks ago."""
    store = nights.begin(str(tmp_path / "root"))
    for number in range(3):
        store.write_bytes(f"{STAGING}/abandoned/labels/part-{number}.parquet", b"")
        os.utime(store.url(f"{STAGING}/abandoned/labels/part-{number}.parquet"), (1_700_000_000, 1_700_000_000))
    return store


def _ends(night):
    assert night.wait() == 0, night.said()


def _night(nights, store, which, run_id, step=None):
    params = nights.params(store.url(), **{which: run_id})
    return Forked(params, nights.source.parent / "said.txt", "one", step)


@pytest.mark.parametrize(("name", "then"), FOLLOWED)
def test_killed_at_each_step(nights, root, name, then):
    """The night goes on, or another follows; the night after that finds nothing to do and nothing lying about."""
    step = replace(NIGHT[name], in_worker=False)  # the one process is its own worker here
    night = _night(nights, root, "run_id", SECOND, step)
    assert night.wait() == -signal.SIGKILL, night.said()
    assert phase(root, SECOND) == REACHED[name]
    begun = root.exists(plan_file(SECOND))
    _ends(_night(nights, root, "resume" if begun and then == "resume" else "run_id", SECOND if then == "resume" else "another"))
    left = ABANDONED | ({SECOND} if then == "next night" and not is_committed(root, SECOND) else frozenset())
    assert problems(nights, root, same_runs=then == "resume", abandoned=left) == []
    _ends(_night(nights, root, "run_id", "later"))
    assert problems(nights, root, same_runs=then == "resume", abandoned=left - ABANDONED) == []


@pytest.mark.parametrize("seed", range(5))
def test_killed_at_random(nights, root, around, seed):
    """Up to three kills in a row, each at a change of the root, while a reader asks."""
    draws = np.random.default_rng([seed, 7])
    reader = Reader(root.url())
    run_id, killed, same = SECOND, 0, True
    for number in range(int(draws.integers(1, 4))):
        step = at_change(int(draws.integers(1, 33)), bool(draws.integers(2)))
        night = _night(nights, root, "resume" if root.exists(plan_file(run_id)) else "run_id", run_id, step)
        assert night.wait() in (0, -signal.SIGKILL), night.said()
        killed += night.wait() != 0
        if draws.random() < 0.3:
            run_id, same = f"another-{number}", False
    _ends(_night(nights, root, "resume" if root.exists(plan_file(run_id)) else "run_id", run_id))
    read = reader.ended()
    assert (read["wrong"], killed > 0) == ([], True)
    uncommitted = {path.split("/")[1] for path in root.list_files(STAGING)}
    left = frozenset(name for name in uncommitted if not is_committed(root, name) and (name in ABANDONED or not same))
    assert problems(nights, root, same_runs=same, abandoned=left) == []


def test_a_command_is_killed_at_three_steps_in_a_row(nights, root, around, prefect_url):
    """All of its processes, the command alone, and, with an API of its own, all of its group; each is then resumed."""
    reader = Reader(root.url())
    which = "--run-id"
    there = {"PREFECT_API_URL": prefect_url}
    for kind, name in (("machine", "in a shard"), ("command", "between parts"), ("group", "in the removal of staging")):
        extra = {"DEADLY_STEP": NIGHT[name].told(), "DEADLY_KIND": kind} | (there if kind != "group" else {})
        command = around.start(nights.words(root.url(), which, SECOND, "--workers", "1"), extra)
        assert command.wait() == -signal.SIGKILL, command.said()
        assert command.ends()
        assert phase(root, SECOND) == REACHED[name]
        which = "--resume"
    command = around.start(nights.words(root.url(), which, SECOND), there)
    assert command.wait() == 0, command.said()
    assert reader.ended()["wrong"] == []
    assert problems(nights, root, same_runs=True, abandoned=ABANDONED) == []
    assert command.ends()


def test_a_command_is_killed_and_another_night_follows_at_once(nights, root, around, prefect_url):
    """It finishes the commit that it finds, though workers of the first may still be ending, and the first's own API."""
    reader = Reader(root.url())
    extra = {"DEADLY_STEP": NIGHT["between tables"].told(), "DEADLY_KIND": "command"}
    first = around.start(nights.words(root.url(), "--run-id", SECOND, "--workers", "2"), extra)
    assert first.wait() == -signal.SIGKILL, first.said()
    second = around.start(nights.words(root.url(), "--run-id", "another", "--workers", "1"), {"PREFECT_API_URL": prefect_url})
    assert first.ends()
    assert second.wait() == 0, second.said()
    assert reader.ended()["wrong"] == []
    assert problems(nights, root, same_runs=True) == []
    assert sum(read_manifest(root, "another").statuses.values()) == 0


def test_what_is_drawn_for_a_seed_is_always_the_same():
    cases = [drawn(seed) for seed in range(300)]
    assert cases == [drawn(seed) for seed in range(300)]
    assert {case.setting for case in cases} == set(SETTINGS)
    assert {blow.kind for case in cases for blow in case.blows} == set(KINDS)
    steps = [blow.step for case in cases for blow in case.blows if blow.step is not None]
    assert [Step.read(step.told()) for step in steps] == steps


def test_the_campaign_is_a_command(tmp_path):
    words = [sys.executable, "-m", "tests.faults.kills", "--help"]
    ended = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=280)
    assert "--seeds" in ended.stdout
