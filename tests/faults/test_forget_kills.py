"""`ferflow forget` as a process that is killed with SIGKILL at a random change of the root, and repeated."""

import shutil

import pytest

from fer_core.storage.store import open_store
from tests.faults.forked import Forked
from tests.faults.removals import killed_and_repeated
from tests.support.remembered import Remembered, remember

CHANGES = 36
"""Of an undisturbed removal, with those of its lease."""


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    folder = tmp_path_factory.mktemp("remembered")
    return remember(str(folder / "root"), folder / "photos")


def killed(before, folder, seed):
    shutil.copytree(before.store.url(), folder / "root")
    root = Remembered(open_store(str(folder / "root")), before.photos)
    words = ["forget", root.store.url(), "--image", [root.uri, root.copy][seed % 2], "--json"]
    killed_and_repeated(lambda step: Forked(words, folder / "said.txt", step=step), root.store, (seed, 24), CHANGES)
    assert root.traces(root.uri, root.copy, root.sha256) == []
    assert len(root.store.list_files("_meta/forgotten")) == 1
    tables = {table: sorted(row["image_uri"] for row in root.rows(table)) for table in ("images", "labels", "faces")}
    assert {table: len(rows) for table, rows in tables.items()} == {"images": 6, "labels": 4, "faces": 2}


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_random(before, tmp_path, seed):
    killed(before, tmp_path, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6, 50))
def test_killed_at_random_often(before, tmp_path, seed):
    killed(before, tmp_path, seed)
