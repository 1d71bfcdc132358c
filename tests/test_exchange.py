import sys

import pytest

from fer_core.exchange import exchanging, filesystem, why_not
from fer_core.store import open_store

MOUNTS = """22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /data rw - nfs4 server:/data rw
31 30 0:26 / /data/local\\040disk rw - xfs /dev/sdb1 rw
32 22 0:27 / /data2 rw - cifs //server/x rw
33 22 0:28 / /data2 rw - tmpfs none rw"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("/", "ext4"), ("/photos", "ext4"), ("/data", "nfs4"), ("/data/x", "nfs4"), ("/data/local disk/x", "xfs"), ("/data2/x", "tmpfs")],
)
def test_which_filesystem_a_folder_lies_on(folder, kind):
    assert filesystem(folder, MOUNTS) == kind


def test_network_filesystems_and_object_stores_are_refused(tmp_path, monkeypatch):
    from fer_core import exchange as module

    monkeypatch.setattr(module, "filesystem", lambda folder, mounts: "nfs4")
    assert why_not(str(tmp_path)) in (
        "it lies on nfs4, which other machines may be reading from",
        "this system cannot exchange folders in one step",
    )
    assert open_store("memory://bucket/labels").why_no_exchange() == "an object store cannot exchange folders in one step"


@pytest.mark.skipif(sys.platform != "linux", reason="needs renameat2")
def test_two_folders_change_places(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"in-{name}").touch()
    exchanging(str(tmp_path / "a"), str(tmp_path / "b"))()
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["in-b"]
    assert [file.name for file in (tmp_path / "b").iterdir()] == ["in-a"]
    with pytest.raises(FileNotFoundError):
        exchanging(str(tmp_path / "a"), str(tmp_path / "c"))()
