import errno
import os
import threading
import time

import pytest

from fer_core.errors import ImageError, StoreError
from fer_core.storage.store import open_store, read_uri
from tests.support.modes import modes_below


def failure(uri, limit=100):
    with pytest.raises(ImageError) as caught:
        read_uri(uri, limit)
    return caught.value.status, caught.value.reason


def one_line(error):
    text = str(error.value)
    assert text
    assert "\n" not in text
    return text


ODD = ("plain.bin", "a b/ü 🙂.bin", "100%25.bin", "h#a?s*h[1].bin", "x::y.bin")


class TestEveryStorage:
    """One contract for local disks, memory and S3."""

    def test_write_read_replace(self, any_root):
        store = open_store(any_root)
        for name in ODD:
            assert not store.exists(name)
            store.write_bytes(name, b"old")
            store.write_bytes(name, b"new content")
            assert store.exists(name)
            assert store.read_bytes(name) == b"new content"
        assert store.list_files() == sorted(ODD)

    def test_empty_file(self, any_root):
        store = open_store(any_root)
        store.write_bytes("empty", b"")
        assert store.exists("empty")
        assert store.read_bytes("empty") == b""
        assert read_uri(store.url("empty"), 10) == b""

    def test_folders_are_no_files(self, any_root):
        store = open_store(any_root)
        store.write_bytes("a/b/c", b"1")
        assert not store.exists("a/b")
        assert not store.exists("a/b/c/d")
        assert store.exists("a/b/c")

    def test_listing_is_recursive_sorted_relative_and_fresh(self, any_root):
        store, other = open_store(any_root), open_store(any_root)
        assert store.list_files() == []
        assert store.list_files("nothing/here") == []
        for name in ("b/2", "a", "b/1/x", "bb/3"):
            other.write_bytes(name, b"1")
        assert store.list_files() == ["a", "b/1/x", "b/2", "bb/3"]
        assert store.list_files("b") == ["b/1/x", "b/2"]

    def test_move_is_idempotent(self, any_root):
        store = open_store(any_root)
        store.write_bytes("from/x[1] *.bin", b"content")
        store.write_bytes("to/y.bin", b"what was there")
        for _ in range(2):
            store.move("from/x[1] *.bin", "to/y.bin")
            assert store.list_files() == ["to/y.bin"]
            assert store.read_bytes("to/y.bin") == b"content"

    def test_the_newest_file_tells_the_storages_time(self, any_root):
        store = open_store(any_root)
        assert store.newest("a") is None
        store.write_bytes("a/b/c", b"1")
        first = store.newest("a")
        assert first == store.newest("a/b/c")
        assert abs(first - time.time()) < 60
        store.write_bytes("a/d", b"1")
        assert store.newest("a") >= first

    def test_removing_one_file(self, any_root):
        store = open_store(any_root)
        store.write_bytes("a/b", b"1")
        store.write_bytes("a/b*", b"1")
        store.remove_file("a/b*")
        store.remove_file("a/nothing")
        assert store.list_files() == ["a/b"]

    def test_work_on_several_files_ends_as_a_whole(self, any_root):
        """Whatever fails: the first error in order of the files, after the last of them has ended."""
        store, names = open_store(any_root), [f"{number:02}" for number in range(40)]
        at_work, ended = set(), []

        def move(name):
            at_work.add(name)
            store.move(f"from/{name}", f"to/{name}")
            at_work.remove(name)
            ended.append(name)

        def fail(name):
            at_work.add(name)
            try:
                if name in {"05", "09"}:
                    raise StoreError(f"cannot move {name}")
                store.move(f"to/{name}", f"back/{name}")
            finally:
                at_work.remove(name)

        for name in names:
            store.write_bytes(f"from/{name}", name.encode())
        store.for_each(move, names)
        assert sorted(ended) == names
        assert store.list_files() == [f"to/{name}" for name in names]
        store.for_each(move, [])
        with pytest.raises(StoreError, match="cannot move 05"):
            store.for_each(fail, names)
        assert not at_work
        assert {*names[:5]} <= {path.removeprefix("back/") for path in store.list_files("back")} <= {*names} - {"05", "09"}

    def test_moving_nothing_is_an_error(self, any_root):
        with pytest.raises(StoreError) as error:
            open_store(any_root).move("absent", "target")
        assert "absent" in one_line(error)

    def test_reading_nothing_is_an_error(self, any_root):
        store = open_store(any_root)
        with pytest.raises(StoreError) as error:
            store.read_bytes("absent")
        assert store.url("absent") in one_line(error)

    def test_remove_tree_takes_what_lies_below_and_nothing_else(self, any_root):
        store = open_store(any_root)
        for name in ("gone[1]/a", "gone[1]/b/c*", "gone1/kept", "gone[1]x"):
            store.write_bytes(name, b"1")
        for _ in range(2):
            store.remove_tree("gone[1]")
            assert store.list_files() == ["gone1/kept", "gone[1]x"]

    def test_check_writable_leaves_nothing(self, any_root):
        store = open_store(any_root)
        store.check_writable()
        assert store.list_files() == []

    def test_urls_open_as_images(self, any_root):
        store = open_store(any_root)
        for name in ODD:
            store.write_bytes(name, name.encode())
            assert store.url(name) == f"{any_root}/{name}"
            assert read_uri(store.url(name), 1000) == name.encode()

    def test_limit_is_inclusive(self, any_root):
        store = open_store(any_root)
        store.write_bytes("ten", b"0123456789")
        assert read_uri(store.url("ten"), 10) == b"0123456789"
        assert failure(store.url("ten"), 9) == ("too_large", "more than 9 bytes")

    def test_absent_image_is_missing(self, any_root):
        store = open_store(any_root)
        store.write_bytes("here/x", b"1")
        assert failure(store.url("absent"))[0] == "missing"
        assert failure(store.url("here/x/below"))[0] == "missing"

    def test_paths_stay_below_the_root(self, any_root):
        store = open_store(any_root)
        for path in ("/etc/passwd", "../x", "a/../../x"):
            with pytest.raises(ValueError, match="below the root"):
                store.write_bytes(path, b"1")
        with pytest.raises(ValueError, match="root itself"):
            store.remove_tree("")


def test_root_may_be_relative_or_a_file_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for url in ("out", "./out/", f"file://{tmp_path}/out", f"{tmp_path}/out"):
        assert open_store(url).root == f"{tmp_path}/out"
    assert open_store("a%20b#c").root == f"{tmp_path}/a%20b#c"


@pytest.mark.parametrize("url", ["s3://", "memory://", "https://example.org/x", "ftp://example.org/x", "what://x"])
def test_roots_that_cannot_be(url):
    with pytest.raises(StoreError) as error:
        open_store(url)
    one_line(error)


def test_writes_are_atomic_for_readers(tmp_path):
    store = open_store(str(tmp_path))
    contents = [bytes([value]) * 200_000 for value in range(8)]
    store.write_bytes("x", contents[0])
    done = threading.Event()
    torn = []

    def read():
        while not done.is_set():
            if store.read_bytes("x") not in contents:
                torn.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    for content in contents * 5:
        store.write_bytes("x", content)
    done.set()
    reader.join()
    assert not torn
    assert os.listdir(tmp_path) == ["x"]


def test_a_failed_write_leaves_the_old_content_and_no_litter(tmp_path, monkeypatch):
    store = open_store(str(tmp_path))
    store.write_bytes("x", b"old")

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError) as error:
        store.write_bytes("x", b"new")
    assert "No space left on device" in one_line(error)
    assert store.read_bytes("x") == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_unfinished_writes_of_a_killed_process_are_not_listed(tmp_path):
    store = open_store(str(tmp_path))
    store.write_bytes("x", b"1")
    (tmp_path / ".x.0123456789abcdef.tmp").write_bytes(b"half")
    (tmp_path / ".hidden").write_bytes(b"whole")
    assert store.list_files() == [".hidden", "x"]


def test_files_are_their_owners_alone_whatever_the_umask_gives(tmp_path):
    previous = os.umask(0o002)
    try:
        store = open_store(str(tmp_path / "root"))
        store.write_bytes("a/b/x", b"1")
        with store.replacing("a/y") as file, open(file, "wb") as stream:
            stream.write(b"2")
        store.move("a/y", "c/y")
    finally:
        os.umask(previous)
    assert modes_below(tmp_path / "root") == {"": 0o700, "a": 0o700, "a/b": 0o700, "a/b/x": 0o600, "c": 0o700, "c/y": 0o600}


def test_not_writable_says_why(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_bytes(b"1")
    for root in (file, file / "below"):
        with pytest.raises(StoreError) as error:
            open_store(str(root)).check_writable()
        assert str(root) in one_line(error)

    def refused(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "mkdir", refused)
    with pytest.raises(StoreError, match=r"cannot write to .*/new: Permission denied"):
        open_store(str(tmp_path / "new")).check_writable()


def test_an_outage_is_not_taken_for_absence(tmp_path, monkeypatch):
    store = open_store(str(tmp_path))

    def broken(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(type(store.fs), "info", broken)
    with pytest.raises(StoreError, match="Input/output error"):
        store.exists("x")


class TestS3Failures:
    def test_no_such_bucket(self, s3_root):
        store = open_store("s3://no-such-bucket-anywhere/root")
        with pytest.raises(StoreError) as error:
            store.check_writable()
        assert "no-such-bucket-anywhere" in one_line(error)
        assert failure("s3://no-such-bucket-anywhere/x.jpg")[0] == "missing"

    def test_no_credentials(self, s3_root, monkeypatch, tmp_path):
        import s3fs

        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("HOME", str(tmp_path))
        s3fs.S3FileSystem.clear_instance_cache()
        with pytest.raises(StoreError) as error:
            open_store(s3_root).check_writable()
        assert "credentials" in one_line(error)

    def test_bad_bucket_name(self, s3_root):
        with pytest.raises(StoreError) as error:
            open_store("s3://not a bucket/x").check_writable()
        one_line(error)
        with pytest.raises(StoreError) as error:
            read_uri("s3://not a bucket/x", 10)
        one_line(error)

    def test_listing_sees_what_others_wrote(self, s3_root):
        import s3fs

        store = open_store(s3_root)
        assert store.list_files() == []
        s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True).pipe_file(f"{s3_root}/late", b"1")
        assert store.list_files() == ["late"]
        assert store.exists("late")
