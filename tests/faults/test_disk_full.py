"""A disk that is full, really: a small one of its own. Root alone can have one; elsewhere the kernel's limit on file sizes stands in."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from fer_core.commit.coalesce import LARGEST_PART
from fer_core.commit.publish import publish, staged_receipts
from fer_core.commit.verify import verify
from fer_core.errors import OutageError, StoreError
from fer_core.pipeline.shard import label_shard
from fer_core.storage.store import open_store
from tests.support import fakes

LIMITED = """
import resource, signal, sys
from fer_core.storage.store import open_store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
open_store(sys.argv[1]).write_bytes("x", bytes(5000))
"""


@contextmanager
def small_disk(folder, kilobytes):
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("only root may mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # a failed test may still have a file open there


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", 256) as folder:
        yield folder


def leave(disk, kilobytes):
    """Fill the disk but for so much; pages of 4 KB."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize // 1024
    (disk / "ballast").write_bytes(bytes(1024 * (free - kilobytes)))


def unfinished_writes(disk):
    return [path for path in disk.rglob("*") if path.name.endswith(".tmp")]


@pytest.mark.parametrize("room", [4, 16, 28, 44, 60])
def test_the_run_ends_in_one_line_and_is_resumed_when_there_is_room(disk, tmp_path, room):
    pictures = fakes.refs(fakes.write_pictures(tmp_path / "photos", [0, 1, 2, 3]))
    fakes.label(fakes.config(tmp_path / "undisturbed"), pictures, 2, LARGEST_PART)
    run = fakes.config(disk / "labels")
    (disk / "labels").mkdir()
    leave(disk, room)
    with pytest.raises(StoreError, match=r"cannot write .*: No space left on device$") as error:
        fakes.label(run, pictures, 2, LARGEST_PART)
    assert not isinstance(error.value, OutageError), "waiting makes no room"
    assert unfinished_writes(disk) == []

    (disk / "ballast").unlink()
    store = open_store(run.root)
    if store.exists("_meta/runs/run-a/plan.parquet"):
        done = staged_receipts(store, "run-a")
        missing = [job for job in fakes.jobs(run, pictures, 2) if job.part not in done]
        publish(store, run, [*done.values(), *(label_shard(job, fakes.tools()) for job in missing)])
    else:
        fakes.label(run, pictures, 2, LARGEST_PART)
    assert verify(store).problems == ()
    whole = {name: digest for name, digest in fakes.tree(tmp_path / "undisturbed").items() if name.startswith(("labels/", "images/"))}
    assert {name: digest for name, digest in fakes.tree(disk / "labels").items() if name.startswith(("labels/", "images/"))} == whole


def test_a_file_that_may_not_grow_is_one_line_and_leaves_nothing(tmp_path):
    ended = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ended.stderr.strip().endswith(f"StoreError: cannot write {tmp_path}/x: File too large")
    assert list(tmp_path.iterdir()) == []
