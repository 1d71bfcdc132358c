"""Reading one picture by its address, from local disks."""

import errno
import os
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.errors import ImageError, StoreError
from fer_core.storage.store import read_uri
from fer_core.storage.uri import cut_short, local_path, local_uri


def failure(uri, limit=100):
    with pytest.raises(ImageError) as caught:
        read_uri(uri, limit)
    return caught.value.status, caught.value.reason


class TestLocalImages:
    def test_special_files_are_refused_without_waiting(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(str(tmp_path / "socket"))
            (tmp_path / "link").symlink_to("pipe")
            for name in ("pipe", "socket", "link"):
                assert failure(str(tmp_path / name))[0] == "unsupported"
        assert failure(str(tmp_path)) == ("unsupported", "a folder, not an image")

    def test_links(self, tmp_path):
        (tmp_path / "x").write_bytes(b"1")
        (tmp_path / "good").symlink_to("x")
        (tmp_path / "broken").symlink_to("nowhere")
        (tmp_path / "loop").symlink_to("loop")
        assert read_uri(str(tmp_path / "good"), 10) == b"1"
        assert failure(str(tmp_path / "broken"))[0] == "missing"
        assert failure(str(tmp_path / "loop"))[0] == "missing"

    def test_names_that_cannot_be(self, tmp_path):
        for name in ("x" * 3000, "nul\0"):
            assert failure(str(tmp_path / name))[0] == "missing"
        for long in (f"{tmp_path}/{'x' * 5000}", "é" * 2100, "s3://bucket/" + "x" * 5000, cut_short("s3://" + "a" * 10**6)):
            assert failure(long) == ("unsupported", "a name of more than 4,096 bytes")

    def test_what_the_system_makes_up_is_never_read(self, tmp_path):
        (tmp_path / "a.jpg").symlink_to("/proc/self/environ")
        (tmp_path / "photos").symlink_to("/proc/self")
        for path in (tmp_path / "a.jpg", tmp_path / "photos/status", "/proc/self/status", "/sys/kernel/uevent_seqnum", "/dev/zero"):
            assert failure(str(path)) == ("unsupported", "in /proc, /sys or /dev, which ferflow does not read"), path

    def test_permission(self, tmp_path, monkeypatch):
        (tmp_path / "x").write_bytes(b"1")

        def refused(*_, **__):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        for name in ("open", "stat"):
            with monkeypatch.context() as patch:
                patch.setattr(os, name, refused)
                assert failure(str(tmp_path / "x")) == ("unreadable", "permission denied")
        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", refused)
            assert failure(str(tmp_path)) == ("unreadable", "permission denied")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_real_permission(self, tmp_path):
        (tmp_path / "x").write_bytes(b"1")
        (tmp_path / "x").chmod(0)
        assert failure(str(tmp_path / "x")) == ("unreadable", "permission denied")

    def test_a_failing_disk_is_the_stores_fault(self, tmp_path, monkeypatch):
        (tmp_path / "x").write_bytes(b"1")

        def broken(*_, **__):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, "open", broken)
        with pytest.raises(StoreError, match="Input/output error"):
            read_uri(str(tmp_path / "x"), 10)


@pytest.mark.parametrize("uri", ["https://example.org/x.jpg", "http://169.254.169.254/", "ftp://x/y"])
def test_web_addresses_are_not_fetched(uri):
    assert failure(uri)[0] == "unsupported"


@settings(deadline=None, max_examples=200)
@given(st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name))
def test_every_local_name_has_one_uri(name):
    path = "/photos/" + os.fsdecode(name)
    uri = local_uri(path)
    uri.encode()
    assert local_path(uri) == path
    try:
        name.decode()
    except UnicodeDecodeError:
        assert uri.startswith("file:///photos/")
    else:
        assert uri == path


@settings(deadline=None, max_examples=50)
@given(name=st.binary(min_size=1, max_size=60).filter(lambda name: not {0, ord("/")} & set(name) and name not in (b".", b"..")))
def test_every_local_name_is_read_verbatim(name, tmp_path_factory):
    folder = os.fsencode(tmp_path_factory.mktemp("names"))
    path = os.path.join(folder, name)
    with open(path, "wb") as stream:
        stream.write(name)
    assert read_uri(local_uri(os.fsdecode(path)), 100) == name
