"""The S3 client's own errors: a real client, a real server, and a proxy between them that loses what passes."""

from pathlib import Path

import pytest

from fer_core.collection.inventory import list_images
from fer_core.commit.verify import verify
from fer_core.errors import OutageError, SourceError, StoreError
from fer_core.storage.retry import RetryPolicy
from fer_core.storage.store import open_store, read_uri
from tests.faults.faulty_proxy import BROKEN, BUSY, CUT, DENIED, GARBLED, LATE, RESET, STALL, FaultyProxy, seeded
from tests.support import fakes


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """Without our waiting, with a tenth of the client's, and with little patience for a server that says nothing."""
    import asyncio

    import s3fs

    sleep = asyncio.sleep
    monkeypatch.setattr(RetryPolicy, "_waits", lambda self: iter([0.0] * (self.tries - 1)))
    monkeypatch.setattr(s3fs.S3FileSystem, "read_timeout", 3)
    monkeypatch.setattr("aiobotocore.endpoint.asyncio.sleep", lambda seconds, *rest: sleep(min(seconds, 0.1), *rest))


@pytest.fixture
def proxy(s3_root, s3_endpoint, monkeypatch):
    """Stands between this process and the server."""
    import s3fs

    with FaultyProxy(s3_endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        s3fs.S3FileSystem.clear_instance_cache()
        yield proxy
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def pictures(tmp_path) -> Path:
    return fakes.write_pictures(tmp_path / "photos", [0, 1, 2, 3])


def tables(root):
    store = open_store(root)
    assert verify(store).problems == ()
    return {path: store.read_bytes(path) for path in store.list_files() if path.endswith(".parquet")}


@pytest.mark.parametrize("kinds", [(BUSY, BROKEN), (RESET, LATE), (CUT, GARBLED), (BUSY, BROKEN, RESET, LATE, CUT, GARBLED, STALL)])
def test_a_whole_run_over_a_line_that_loses_things(proxy, s3_root, pictures, kinds):
    photos = open_store(f"{s3_root}/photos")
    for file in pictures.iterdir():
        photos.write_bytes(file.name, file.read_bytes())

    def night():
        listed = list_images(f"{s3_root}/photos").to_pylist()
        images = [fakes.ImageRef(row["image_uri"], row["bytes"], row["etag"], 0) for row in listed]
        fakes.label(fakes.config(f"{s3_root}/labels"), images, shard_size=2)
        found = tables(f"{s3_root}/labels")
        open_store(s3_root).remove_tree("labels")
        return found

    undisturbed = night()
    assert len(undisturbed) == 5
    proxy.judge = seeded(5, 0.12, kinds)
    assert night() == undisturbed
    assert {name if isinstance(name, str) else name[1] for name in kinds} >= set(proxy.failed)
    assert proxy.failed.total() > 3


def test_nothing_is_multiplied(proxy, s3_root):
    """Three requests to a try of ours, which s3fs alone would make 25 or 125."""
    store = open_store(s3_root)
    store.write_bytes("x", b"content")
    proxy.judge = lambda method, path: BUSY
    proxy.asked.clear()
    with pytest.raises(OutageError, match=r"cannot write .*reduce your request rate"):
        store.write_bytes("x", b"content")
    assert proxy.asked.total() == 3 * 6
    proxy.asked.clear()
    with pytest.raises(OutageError, match="cannot read"):
        read_uri(store.url("x"), 100)
    assert proxy.asked.total() == 3 * 4 + 3, "and once whether the bucket is there"
    proxy.asked.clear()
    with pytest.raises(OutageError):
        store.without_retries().read_bytes("x")
    assert proxy.asked.total() == 3


def test_an_object_that_is_cut_each_time_is_that_images_fault(proxy, s3_root):
    store = open_store(s3_root)
    store.write_bytes("x", b"content")
    proxy.judge = lambda method, path: CUT if method == "GET" and path.endswith("/x") else None
    with pytest.raises(StoreError, match="cannot read") as error:
        read_uri(store.url("x"), 100, 7)
    assert not isinstance(error.value, OutageError)


def test_what_cannot_pass_is_asked_once_and_said_in_one_line(proxy, s3_root):
    store = open_store(s3_root)
    proxy.judge = lambda method, path: DENIED
    for ask in (store.check_writable, lambda: store.write_bytes("x", b"1"), lambda: store.exists("x"), store.list_files):
        proxy.asked.clear()
        with pytest.raises(StoreError) as error:
            ask()
        assert "\n" not in str(error.value)
        assert proxy.asked.total() == 1
    with pytest.raises(SourceError):
        list_images(s3_root)


def test_a_server_that_says_nothing_is_given_up_and_one_that_comes_back_is_not(proxy, s3_root):
    store = open_store(s3_root)
    silent = [STALL, RESET, STALL, BUSY, RESET]
    proxy.judge = lambda method, path: silent.pop() if silent else None
    store.write_bytes("x", b"1")
    assert store.read_bytes("x") == b"1"
    assert proxy.failed.total() == 5
    proxy.judge = lambda method, path: STALL
    with pytest.raises(OutageError, match=r"cannot look for .*[Tt]imeout"):
        store.without_retries().exists("x")


def test_nobody_there(s3_root, monkeypatch):
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(OutageError, match="Could not connect to the endpoint"):
        open_store(s3_root).check_writable()
