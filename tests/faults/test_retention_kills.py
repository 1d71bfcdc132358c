"""Housekeeping that removes what is past its age, as a process that is killed with SIGKILL at a random change of the root, and repeated."""

from dataclasses import replace

import pytest

from fer_core.commit.expired_list import ExpiredList, write_expired_list
from fer_core.commit.part_reader import read_part
from fer_core.commit.policy import Policy, write_policy
from fer_core.commit.publish import committed_runs, read_manifest
from fer_core.planning.draft import draft
from fer_core.storage.store import open_store
from fer_core.tables.schema import SCHEMAS
from tests.faults.forked import Forked
from tests.faults.removals import killed_and_repeated
from tests.support import fakes
from tests.support.remembered import Remembered, remember

POLICIES = {"labels": Policy(keep_labels_days=1), "crops": Policy(keep_crops_days=1)}
"""The runs were planned on the first day of 2026."""
CHANGES = {"labels": 40, "crops": 12}
"""Of an undisturbed housekeeping, with those of its lease."""


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    folder = tmp_path_factory.mktemp("remembered")
    found = remember(str(folder / "root"), folder / "photos")
    write_expired_list(found.store, ExpiredList("ab" * 32))
    return found


@pytest.fixture(scope="module")
def whole(before, tmp_path_factory):
    """What an undisturbed housekeeping leaves, by policy."""
    found = {}
    for policy in POLICIES:
        folder = tmp_path_factory.mktemp("whole")
        root = begun(before, str(folder / "root"), policy)
        done = Forked(root.store.url(), folder / "said.txt")
        assert done.wait() == 0, done.said()
        found[policy] = state(root)
    return found


def begun(before, url, policy):
    store = open_store(url)
    for path in before.store.list_files():
        store.write_bytes(path, before.store.read_bytes(path))
    write_policy(store, POLICIES[policy])
    return Remembered(store, before.photos)


def state(root):
    """Every file but the audit record, whose name and time differ, and the fences of killed processes."""
    passing = ("_meta/forgotten/", "_meta/leases/")
    return {path: root.store.read_bytes(path) for path in root.store.list_files() if not path.startswith(passing)}


def killed(before, whole, url, folder, seed):
    policy = list(POLICIES)[seed % 2]
    root = begun(before, url, policy)
    parts = [(run_id, part) for run_id in committed_runs(root.store) for part in read_manifest(root.store, run_id).parts]
    old = {part.path: read_part(root.store, part, SCHEMAS[part.table], run_id) for run_id, part in parts}

    def look():
        for run_id, part in parts:
            rows = read_part(root.store, part, SCHEMAS[part.table], run_id)
            without = part.table == "faces" and rows["crop_png"].null_count == rows.num_rows == part.rows
            assert rows.equals(old[part.path]) or without or not rows.num_rows

    killed_and_repeated(lambda step: Forked(url, folder / "said.txt", step=step), root.store, (seed, 25), CHANGES[policy], look)
    assert state(root) == whole[policy]
    assert len(root.store.list_files("_meta/forgotten")) == 1
    night = replace(fakes.config(url, "night"), started_us=fakes.STARTED_US + 10**12)
    plan = draft(root.store, night, fakes.inventory(fakes.refs(before.photos)), workers=1, force=False)
    assert (plan.images.num_rows, plan.expired) == (0, 5 if policy == "labels" else 0)
    assert (root.traces(root.uri, root.copy, root.sha256) == []) == (policy == "labels")


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random(before, whole, tmp_path, seed):
    killed(before, whole, str(tmp_path / "root"), tmp_path, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4, 50))
def test_killed_at_random_often(before, whole, tmp_path, seed):
    killed(before, whole, str(tmp_path / "root"), tmp_path, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_killed_at_random_on_an_object_store(before, whole, tmp_path, s3_root, seed):
    killed(before, whole, s3_root, tmp_path, seed)
