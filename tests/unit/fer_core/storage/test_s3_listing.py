"""What S3 lists in pages, sends in parts and may be named, on the server of the tests and on a production server."""

import socket

import pytest

from fer_core.collection.inventory import list_images, quick_count
from fer_core.errors import SourceError
from fer_core.storage.store import open_store, read_uri
from fer_core.storage.uri import split
from tests.support.swift_server import use

pytestmark = pytest.mark.timeout(900)  # a thousand requests on a busy machine

PAGE = 1000
"""Most names that S3 gives in one answer."""
ODD = (
    "a//b.jpg",
    "x+y=z&w.jpg",
    "~!$'(),;@^`{|}.jpg",
    "end ",
    "Ünïcode ☃/日本.jpg",
    "a%2Fb%20c.jpg",
    "#1?.jpg",
    "[0-9]*.jpg",
    "back\\slash.jpg",
)


@pytest.fixture(params=["s3", "swift"])
def root(request):
    return request.getfixturevalue(f"{request.param}_root")


def test_a_listing_of_more_than_a_page_is_whole(root, request, monkeypatch):
    """A page of the production server is as long as S3's, one of the other as short as that server is asked to make it."""
    short = request.node.callspec.params["root"] == "s3"
    if short:
        monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "100")
    store = open_store(root)
    names = [f"photos/{number:04d}.jpg" for number in range(150 if short else PAGE + 10)]
    fs, path = split(root)
    fs.pipe({f"{path}/{name}": b"" for name in names}, batch_size=32)
    assert store.list_files("photos") == names
    assert store.newest("photos") is not None
    assert list_images(f"{root}/photos")["image_uri"].to_pylist() == [f"{root}/{name}" for name in names]
    assert quick_count(f"{root}/photos") is None
    assert quick_count(f"{root}/photos/0007.jpg") == 1
    assert quick_count(f"{root}/photos/00*.jpg") is None
    with pytest.raises(SourceError, match="there is nothing at"):
        quick_count(f"{root}/photos/1")


def test_what_one_request_tells(root):
    store = open_store(root)
    for name in ("photos/a.jpg", "photos/b/c.jpg", "photos2/d.jpg", "photos-3/e.jpg", "one.jpg", "set [1]*/f.jpg", "tonight.csv"):
        store.write_bytes(name, b"1")
    bucket = root.removeprefix("s3://").partition("/")[0]
    split(root)[0].call_s3("put_object", Bucket=bucket, Key="some/root/photos/marker/", Body=b"")
    for source, count in {"photos": 2, "photos/": 2, "one.jpg": 1, "set [1]*": 1, "p*/a.jpg": None, "tonight.csv": None, "": 7}.items():
        assert quick_count(f"{root}/{source}") == count, source
    assert list_images(f"{root}/photos").num_rows == 2
    assert quick_count(f"s3://{bucket}") == 7


def test_any_name_is_listed_read_moved_and_removed_verbatim(root):
    store = open_store(root)
    for name in ODD:
        store.write_bytes(f"in/{name}", name.encode())
    assert store.list_files("in") == sorted(f"in/{name}" for name in ODD)
    listed = list_images(f"{root}/in")["image_uri"].to_pylist()
    assert listed == sorted(f"{root}/in/{name}" for name in ODD)
    assert [read_uri(uri, 100).decode() for uri in listed] == [uri.removeprefix(f"{root}/in/") for uri in listed]
    for name in ODD:
        store.move(f"in/{name}", f"out/{name}")
        assert store.read_bytes(f"out/{name}") == name.encode()
    assert store.list_files() == sorted(f"out/{name}" for name in ODD)
    store.remove_tree("out")
    assert store.list_files() == []


def test_a_large_file_is_sent_in_parts_and_read_whole(root):
    """More than 100 MB, from where on the client sends parts; an object in parts has an etag of another kind, and is copied."""
    store = open_store(root)
    block = bytes(range(256)) * 4096
    with store.replacing("large.parquet") as file, open(file, "wb") as stream:
        for _ in range(101):
            stream.write(block)
    (row,) = list_images(root).to_pylist()
    assert row["bytes"] == 101 * len(block)
    store.move("large.parquet", "moved.parquet")
    assert store.list_files() == ["moved.parquet"]
    data = store.read_bytes("moved.parquet")
    assert len(data) == 101 * len(block)
    assert data[-len(block) :] == block


def test_the_bucket_may_stand_in_the_host_name(swift, swift_root, monkeypatch):
    """A real server takes the signature of such a request only when it was made for that host."""
    look_up = socket.getaddrinfo

    def here(host, *words, **named):
        return look_up("127.0.0.1" if str(host).endswith(swift.domain) else host, *words, **named)

    open_store(swift_root).write_bytes("a.jpg", b"by path")
    monkeypatch.setattr(socket, "getaddrinfo", here)
    endpoint = swift.endpoint.replace("127.0.0.1", swift.domain)
    use(monkeypatch, {**swift.environment(), "AWS_ENDPOINT_URL": endpoint, "FERFLOW_S3_ADDRESSING": "virtual"})
    store = open_store(swift_root)
    bucket = swift_root.split("/")[2]
    assert store.fs.sign(f"{bucket}/x").startswith(endpoint.replace("://", f"://{bucket}."))
    store.check_writable()
    store.move("a.jpg", "b c%.jpg")
    assert read_uri(f"{swift_root}/b c%.jpg", 10) == b"by path"
    assert list_images(swift_root)["image_uri"].to_pylist() == [f"{swift_root}/b c%.jpg"]
