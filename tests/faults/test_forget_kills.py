"""`ferflow forget` as a process that is killed with SIGKILL at a random change of the root, and repeated."""

import shutil
import signal

import numpy as np
import pytest

from fer_core.commit.verify import verify
from fer_core.storage.store import open_store
from tests.faults.forked import Forked
from tests.faults.steps import at_change
from tests.support.remembered import Remembered, remember

CHANGES = 36
"""Of an undisturbed removal, with those of its lease."""


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    folder = tmp_path_factory.mktemp("remembered")
    return remember(str(folder / "root"), folder / "photos")


def killed_and_repeated(before, folder, seed):
    """Up to two kills in a row, then a repetition."""
    draws = np.random.default_rng([seed, 24])
    shutil.copytree(before.store.url(), folder / "root")
    root = Remembered(open_store(str(folder / "root")), before.photos)
    words = ["forget", root.store.url(), "--image", [root.uri, root.copy][seed % 2], "--json"]
    ends = []
    for _ in range(int(draws.integers(1, 3))):
        step = at_change(int(draws.integers(1, CHANGES)), bool(draws.integers(2)))
        ends.append(Forked(words, folder / "said.txt", step=step).wait())
        assert verify(root.store).problems == ()
    last = Forked(words, folder / "said.txt")
    assert last.wait() == 0, last.said()
    assert set(ends) <= {0, -signal.SIGKILL}
    assert ends[0] == -signal.SIGKILL
    assert root.traces(root.uri, root.copy, root.sha256) == []
    assert (verify(root.store).problems, len(root.store.list_files("_meta/forgotten"))) == ((), 1)
    tables = {table: sorted(row["image_uri"] for row in root.rows(table)) for table in ("images", "labels", "faces")}
    assert {table: len(rows) for table, rows in tables.items()} == {"images": 6, "labels": 4, "faces": 2}


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_random(before, tmp_path, seed):
    killed_and_repeated(before, tmp_path, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6, 50))
def test_killed_at_random_often(before, tmp_path, seed):
    killed_and_repeated(before, tmp_path, seed)
