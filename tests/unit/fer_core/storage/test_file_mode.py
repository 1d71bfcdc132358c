"""Who reads what is written to a disk: its owner alone, or, where a root is shared, its group."""

import os
import stat

import pytest

from fer_core.storage import file_mode
from fer_core.storage.file_mode import GROUP, OWNER, make_folders, mode_of, open_to_others, settle, temporary_folder
from fer_core.storage.store import open_store
from tests.support.modes import modes_below


@pytest.fixture(autouse=True, params=[0o022, 0o077, 0o002])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_a_root_is_its_owners_alone_unless_it_is_said_to_be_shared(tmp_path):
    root = tmp_path / "new" / "labels"
    store = open_store(str(root))
    store.check_writable()
    store.write_bytes("labels/run_date=x/part", b"1")
    store.write_bytes("_meta/runs/a/manifest.json", b"1")
    assert mode_of(str(root)) is OWNER
    assert set(modes_below(tmp_path / "new").values()) == {0o700, 0o600}
    assert open_to_others(str(root)) is None


def test_a_shared_root_stays_shared_for_all_who_write_there(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o2770)
    store = open_store(str(tmp_path / "shared" / "labels"))
    store.settle(GROUP)
    store.settle(None)
    store.check_writable()
    store.write_bytes("_staging/a/part", b"1")
    store.move("_staging/a/part", "labels/run_date=x/part")
    modes = modes_below(tmp_path / "shared" / "labels")
    assert set(modes.values()) == {0o2770, 0o660}  # setgid, and with it the group, comes from the folder above
    assert open_to_others(store.root) is None


def test_a_root_can_be_shared_and_closed_again(tmp_path):
    store = open_store(str(tmp_path / "labels"))
    store.write_bytes("labels/run_date=x/part", b"1")
    store.write_bytes("_meta/runs/a/manifest.json", b"1")
    store.settle(GROUP)
    within = {path: mode for path, mode in modes_below(tmp_path / "labels").items() if path}
    assert set(within.values()) == {0o770, 0o660}
    assert (tmp_path / "labels").stat().st_mode & 0o777 == 0o700  # a folder that was there keeps its mode
    assert open_to_others(store.root).startswith(f"the group cannot write to {store.root} (mode 0700): chmod g+rwxs ")
    store.settle(OWNER)
    assert set(modes_below(tmp_path / "labels").values()) == {0o700, 0o600}


def test_sharing_that_was_interrupted_is_done_again(tmp_path, monkeypatch):
    store = open_store(str(tmp_path / "labels"))
    store.write_bytes("labels/part", b"1")
    store.write_bytes("images/part", b"1")
    monkeypatch.setattr(file_mode, "_set_folder", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        settle(store.root, GROUP)
    monkeypatch.undo()
    assert mode_of(store.root) is OWNER
    settle(store.root, GROUP)
    assert {mode for path, mode in modes_below(tmp_path / "labels").items() if path} == {0o770, 0o660}


def test_a_root_that_was_there_keeps_its_mode_and_one_line_says_so(tmp_path):
    root = tmp_path / "labels"
    root.mkdir()
    (root / "_meta").mkdir()
    for folder in (root, root / "_meta"):
        folder.chmod(0o755)
    store = open_store(str(root))
    store.check_writable()
    store.write_bytes("labels/part", b"1")
    assert (stat.S_IMODE(root.stat().st_mode), modes_below(root)["labels"], modes_below(root)["labels/part"]) == (0o755, 0o700, 0o600)
    assert open_to_others(str(root)) == f"{root} is open to every user of this machine (mode 0755); its files will not be: chmod 700 {root}"
    root.chmod(0o750)
    assert "is open to its group (mode 0750)" in open_to_others(str(root))
    assert open_to_others(str(tmp_path / "absent")) is None


def test_a_folder_for_temporary_files_that_somebody_else_has_made_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own = temporary_folder()
    assert own == temporary_folder()
    assert stat.S_IMODE(os.stat(own).st_mode) == 0o700
    os.chmod(own, 0o777)
    other = temporary_folder()
    assert other != own
    assert stat.S_IMODE(os.stat(other).st_mode) == 0o700


def test_folders_that_are_there_keep_their_mode(tmp_path):
    (tmp_path / "a").mkdir(mode=0o755)
    (tmp_path / "a").chmod(0o755)
    make_folders(str(tmp_path / "a" / "b" / "c"), OWNER)
    assert modes_below(tmp_path / "a") == {"": 0o755, "b": 0o700, "b/c": 0o700}
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        make_folders(str(tmp_path / "file" / "below"), OWNER)
