"""What is past its age goes in housekeeping and at the end of a run, and both say how much it was."""

import time
from dataclasses import replace

import pytest
from prefect.logging import disable_run_logger

from fer_core.commit.lease import lease
from fer_core.commit.policy import Policy, write_policy
from fer_core.commit.publish import is_committed
from fer_core.erasure.audit import AuditRecord
from fer_core.errors import CommitError
from tasks.commit import commit_run
from tasks.housekeeping import Housekeeping, collect, headline, page
from tasks.label import ShardResults
from tests.support import fakes
from tests.support.remembered import remember


@pytest.fixture
def root(tmp_path):
    """Of runs that were planned on the first day of 2026."""
    found = remember(str(tmp_path / "root"), tmp_path / "photos")
    write_policy(found.store, Policy(keep_labels_days=1))
    return found


def committed(root):
    """A run of now, of which nothing is too old, through the task of its flow."""
    config = replace(fakes.config(root.store.url(), "night"), started_us=time.time_ns() // 1000)
    receipts = fakes.stage_run(config, fakes.refs(root.photos)[:2])
    with lease(root.store, "run night") as held, disable_run_logger():
        return commit_run.fn(config, ShardResults(tuple(receipts), 0, 0.0), held)


def test_a_run_removes_it_after_its_commit(root):
    assert committed(root).faces == 3
    assert {row["run_id"] for row in root.rows("images")} == {"night"}
    assert root.store.list_files("_staging") == []


def test_a_run_that_cannot_remove_it_is_committed_all_the_same(root):
    path = root.store.list_files("labels")[0]
    root.store.write_bytes(path, b"damaged")
    committed(root)
    assert is_committed(root.store, "night")
    with lease(root.store, "housekeeping") as held, disable_run_logger(), pytest.raises(CommitError, match="is damaged"):
        collect.fn(root.store.url(), 14, held)


def test_housekeeping_says_what_it_removed(root):
    with lease(root.store, "housekeeping") as held, disable_run_logger():
        done = collect.fn(root.store.url(), 14, held)
        again = collect.fn(root.store.url(), 14, held)
    assert (done.removed.rows["images"], done.removed.rows["labels"], again.removed) == (10, 12, None)
    told = "past their age, removed: 6 faces, 10 images, 12 labels, 10 plan, 4 reviews, 17 staging"
    assert headline(done) == f"0 commits finished, staging of 0 runs collected; {told}"
    assert "- labels: 12" in page(done)
    assert done.removed.path in page(done).replace("\\", "")


def test_the_page_names_delta_tables():
    record = AuditRecord.new("operator", "policy: keep_labels_days 1", {}, ())
    shown = page(Housekeeping((), (), None, replace(record, delta={"labels": "version 3"})))
    assert "Delta table labels: version 3" in shown
    assert "no rows" in headline(Housekeeping((), (), None, record))
