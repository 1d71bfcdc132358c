"""A worker that was overtaken and writes its parts and its receipt late: before, amid and after the commit. Nothing that counts changes."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from fer_core.commit import publish as commit
from fer_core.commit.lease import lease
from fer_core.commit.publish import staged_receipts
from fer_core.commit.recovery import gc_staging
from fer_core.commit.verify import verify
from fer_core.pipeline.shard import label_shard
from fer_core.run.receipts import ShardReceipt
from fer_core.storage.paths import STAGING, receipt_file, staged_file
from fer_core.storage.store import open_store
from tests.support import fakes

publish = partial(commit.publish, largest_part=0)  # parts stay apart, see tests/unit/fer_core/commit/test_coalesce.py


@pytest.fixture
def staged(tmp_path):
    """A run whose shards are done: its configuration, its jobs and their receipts."""
    run = fakes.config(tmp_path / "labels")
    refs = fakes.refs(fakes.write_pictures(tmp_path / "photos", [1, 0, 2, 1]))
    return run, fakes.jobs(run, refs, 2), fakes.stage_run(run, refs, 2)


def tables(root) -> dict[str, str]:
    return {path: digest for path, digest in fakes.tree(Path(root)).items() if not path.startswith(("_meta/leases", STAGING))}


def write_otherwise(run, receipt: ShardReceipt) -> None:
    """As a machine that rounds differently would: parts of other bytes, and a receipt that names them."""
    store = open_store(run.root)
    other = tuple(replace(part, sha256="f" * 64) for part in receipt.parts)
    for part in other:
        store.write_bytes(staged_file(run.run_id, part), b"other bytes")
    late = replace(receipt, parts=other)
    store.write_bytes(receipt_file(run.run_id, receipt.part), json.dumps(late.to_json()).encode())


def test_after_the_commit_it_leaves_files_that_nobody_reads_and_the_next_run_removes(staged):
    run, jobs, receipts = staged
    store = open_store(run.root)
    publish(store, run, receipts)
    committed = tables(run.root)
    late = label_shard(jobs[0], fakes.tools())
    assert late.parts == receipts[0].parts
    assert tables(run.root) == committed
    assert verify(store).problems == ()
    assert store.list_files(STAGING)
    with lease(store, "the next run"):
        assert gc_staging(store) == [run.run_id]
    assert store.list_files(STAGING) == []
    assert tables(run.root) == committed


def test_other_bytes_before_the_commit_change_nothing_that_it_was_given(staged):
    run, _, receipts = staged
    write_otherwise(run, receipts[0])
    store = open_store(run.root)
    manifest = publish(store, run, receipts)
    assert verify(store).problems == ()
    assert {part.sha256 for part in manifest.parts} == {part.sha256 for receipt in receipts for part in receipt.parts}
    assert store.list_files(STAGING) == []


def test_an_interrupted_commit_goes_on_with_the_same_bytes_written_late(staged):
    run, jobs, receipts = staged
    store = open_store(run.root)
    faulty = fakes.FaultyStore(store, 4, "after")
    with pytest.raises(fakes.CutOffError):
        publish(faulty, run, receipts)
    label_shard(jobs[0], fakes.tools())
    publish(store, run, staged_receipts(store, run.run_id).values())
    assert verify(store).problems == ()
    assert store.list_files(STAGING) == []
