"""Commits that are cut off at every change in turn, then done again."""

import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from fer_core.commit.manifest import Manifest
from fer_core.commit.publish import is_committed, staged_receipts
from fer_core.run.configuration import RunConfig
from fer_core.run.receipts import ShardReceipt
from fer_core.storage.store import open_store
from tests.support import fakes


def cut_off_everywhere(
    root: Path, run: RunConfig, receipts: Sequence[ShardReceipt], at: datetime, moment: str, publish: Callable[..., Manifest]
) -> int:
    """Changes of an undisturbed commit, and one more. Asserts that a resumed one ends in the same place, as in another process."""
    staged = root.with_name("staged")
    shutil.copytree(root, staged)
    undisturbed = publish(open_store(run.root), run, receipts, at)
    expected = fakes.tree(root)
    for change in range(1, 100):
        shutil.rmtree(root)
        shutil.copytree(staged, root)
        store = open_store(run.root)
        try:
            publish(fakes.FaultyStore(store, change, moment), run, receipts, at)
            return change
        except fakes.CutOffError:
            pass
        committed = is_committed(store, run.run_id)
        if not committed:
            assert staged_receipts(store, run.run_id) == {receipt.part: receipt for receipt in receipts}, "a receipt was lost"
        assert publish(store, run, [] if committed else staged_receipts(store, run.run_id).values(), at) == undisturbed
        assert fakes.tree(root) == expected
    raise AssertionError("a commit of that many changes")
