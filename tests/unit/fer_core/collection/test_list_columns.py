"""Tables that people have as lists: other delimiters, other languages, no head at all; and lists in object stores."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_core.collection.inventory import SourceOptions, collect, quick_count
from fer_core.collection.list_file import LIMITS, read_list
from fer_core.errors import AccessError, ImageError, SourceError
from fer_core.storage.store import open_store, read_uri

NAMES = ["a.jpg", "b, c.jpg"]


@pytest.fixture
def photos(tmp_path):
    for name in (*NAMES, "d;e.jpg"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def listed(folder, text, column=None, suffix="csv"):
    """Names of a list and their sizes."""
    (folder / f"list.{suffix}").write_text(text)
    found = collect(str(folder / f"list.{suffix}"), SourceOptions(column=column)).images.to_pylist()
    return {row["image_uri"].removeprefix(f"{folder}/"): row["bytes"] for row in found}


@pytest.mark.parametrize(
    "text",
    [
        'id,filename\n1,a.jpg\n2,"b, c.jpg"\n',
        'id;File Name\n1;a.jpg\n2;"b, c.jpg"\n',
        '"Bild";"Wer"\n"a.jpg";"Anna"\n"b, c.jpg";"Bob, Ben"\n',
        'sep=;\r\nimage_path;who\r\na.jpg;Anna\r\n"b, c.jpg";Bob\r\n',
        "sep=|\nnr|Dateiname\n1|a.jpg\n2|b, c.jpg\n",
        "SourceFile\tFileName\na.jpg\tz.jpg\nb, c.jpg\ty.jpg\n",
        "\ufefffichier;auteur\na.jpg;Anna\nb, c.jpg;Bob\n",
        "a.jpg;3,5\nb, c.jpg;4,5\n",  # no head, decimal commas
        "unsinn;wer\na.jpg;Anna\nb, c.jpg;Bob\n",
    ],
)
def test_the_column_of_images_is_found(photos, text):
    assert listed(photos, text) == dict.fromkeys(NAMES, 1)


@pytest.mark.parametrize("column", ["wo", "WO", " Wo"])
def test_a_column_may_be_named(photos, column):
    assert listed(photos, 'file;nr,wo;Wo \nx.jpg;1;a.jpg\ny.jpg;2;"b, c.jpg"\n', column) == dict.fromkeys(NAMES, 1)
    pq.write_table(pa.table({"file": ["x.jpg"], "Wo": ["a.jpg"]}), photos / "list.parquet")
    assert [row["bytes"] for row in collect(str(photos / "list.parquet"), SourceOptions(column=column)).images.to_pylist()] == [1]


def test_a_name_that_is_no_column_is_one_line(photos):
    with pytest.raises(SourceError, match=r"list\.csv has no column named wo: its columns are id, file$"):
        listed(photos, "id,file\n1,a.jpg\n", "wo")
    with pytest.raises(SourceError, match=r"list\.txt is a text list, which has no columns"):
        listed(photos, "a.jpg\n", "wo", "txt")
    pq.write_table(pa.table({"n": [1]}), photos / "list.parquet")
    with pytest.raises(SourceError, match=r"has no column named wo: its columns are n$"):
        collect(str(photos / "list.parquet"), SourceOptions(column="wo"))


def test_no_known_name_and_no_entry_that_exists_is_refused(photos):
    for text in ("nr,bildnummer\n1,a.jpg\n2,b.jpg\n", "z.jpg,1\ny.jpg,2\n", "nr\n1\n"):
        with pytest.raises(SourceError, match=r"list\.csv has no column of a known name, .*: name the column with --column$"):
            listed(photos, text)
    pq.write_table(pa.table({"n": ["z.jpg"]}), photos / "list.parquet")
    with pytest.raises(SourceError, match="name the column with --column"):
        collect(str(photos / "list.parquet"))


@pytest.mark.parametrize("text", ["nr,x\na.jpg,1\ngone.jpg,2\n", "a.jpg\ngone.jpg\n", "gone.jpg\na.jpg\n"])
def test_one_entry_that_exists_is_enough(photos, text):
    assert listed(photos, text) == {"a.jpg": 1, "gone.jpg": None}


def test_missing_images_of_a_known_column_stay(photos):
    assert listed(photos, "uri\ngone.jpg\n") == {"gone.jpg": None}
    assert listed(photos, "gone.jpg\n", suffix="txt") == {"gone.jpg": None}
    assert listed(photos, "nr,wo\n1,gone.jpg\n", "wo") == {"gone.jpg": None}


def test_known_columns_in_the_order_of_earlier_releases():
    names = ["image_uri", "uri", "path", "image", "file"]
    for number in range(len(names)):
        head = names[number:][::-1]
        text = f"{','.join(head)}\n{','.join(f'{name}.jpg' for name in head)}\n"
        assert read_list("x.csv", text.encode()) == [f"{names[number]}.jpg"]


def test_entries_of_a_list_in_s3(s3_root):
    store = open_store(s3_root)
    for name in ("photos/a.jpg", "lists/b.jpg", "lists/.hidden..jpg"):
        store.write_bytes(name, b"x")
    store.write_bytes("lists/list.txt", b"../photos/a.jpg\n./b.jpg\n.hidden..jpg\nx/../../photos/none.jpg\n")
    found = {row["image_uri"]: row["bytes"] for row in collect(f"{s3_root}/lists/list.txt").images.to_pylist()}
    wanted = {"photos/a.jpg": 1, "lists/b.jpg": 1, "lists/.hidden..jpg": 1, "photos/none.jpg": None}
    assert found == {f"{s3_root}/{name}": size for name, size in wanted.items()}
    bucket = s3_root.removeprefix("s3://").partition("/")[0]
    store.write_bytes("lists/far.csv", b"uri\n../../../../../a.jpg\n")
    assert collect(f"{s3_root}/lists/far.csv").images["image_uri"].to_pylist() == [f"s3://{bucket}/a.jpg"]
    store.write_bytes("lists/other.csv", b"nr;name\n1;b.jpg\n")
    with pytest.raises(SourceError, match="name the column with --column"):
        collect(f"{s3_root}/lists/other.csv")
    assert collect(f"{s3_root}/lists/other.csv", SourceOptions(column="name")).images["bytes"].to_pylist() == [1]


def test_addresses_that_name_no_object_cost_a_row(s3_root):
    store = open_store(s3_root)
    store.write_bytes("b.jpg", b"x")
    bucket = s3_root.removeprefix("s3://").partition("/")[0]
    odd = ["s3://", f"s3://{bucket}", f"s3://{bucket}/", f"{s3_root}/b.jpg?versionId=1"]
    store.write_bytes("list.txt", "\n".join([*odd, "b.jpg"]).encode())
    found = {row["image_uri"]: row["bytes"] for row in collect(f"{s3_root}/list.txt").images.to_pylist()}
    assert found.pop(f"{s3_root}/b.jpg") == 1
    assert len(found) >= 3
    for uri in found:
        with pytest.raises(ImageError, match=r"names no object|versionId") as caught:
            read_uri(uri, LIMITS.bytes)
        assert caught.value.status == "unsupported"
    store.write_bytes("none.csv", b"uri\ns3://\n")
    assert collect(f"{s3_root}/none.csv").images.num_rows == 1


def test_public_buckets_are_read_without_credentials(s3_root, monkeypatch):
    store = open_store(s3_root)
    for name in ("photos/a.jpg", "list.txt"):
        store.write_bytes(name, b"photos/a.jpg")
        store.fs.chmod(store.url(name), "public-read")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()
    anonymous = SourceOptions(anonymous=True)
    for source in (f"{s3_root}/photos", f"{s3_root}/list.txt"):
        with pytest.raises(SourceError, match="credentials"):
            collect(source)
        with pytest.raises(SourceError, match="credentials"):
            quick_count(source)
        assert collect(source, anonymous).images["image_uri"].to_pylist() == [f"{s3_root}/photos/a.jpg"]
        quick_count(source, anonymous=True)
    with pytest.raises(AccessError):
        read_uri(f"{s3_root}/photos/a.jpg", 100)
    assert read_uri(f"{s3_root}/photos/a.jpg", 100, anonymous=True) == b"photos/a.jpg"
