"""What a real S3 server refuses is said in one line, before any work is done; and no picture is blamed for it."""

import pytest

from fer_core.collection.inventory import list_images, quick_count
from fer_core.errors import AccessError, ImageError, SourceError, StoreError
from fer_core.pipeline.shard import label_shard
from fer_core.run.part_name import PartName
from fer_core.run.shard_job import ShardJob
from fer_core.storage.store import open_store, read_uri
from tests.support import fakes
from tests.support.swift_server import Keys, new_bucket, use

MARKER = "MARKERsecretMARKERsecret"


@pytest.fixture
def public(swift, monkeypatch):
    """A public bucket with a picture, which only the writer may change."""
    use(monkeypatch, swift.environment())
    bucket = new_bucket("public-read")
    open_store(f"s3://{bucket}/photos").write_bytes("a.png", fakes.picture(1))
    return bucket


@pytest.mark.parametrize("who", ["wrong secret", "unknown key", "no credentials"])
def test_wrong_credentials_are_no_single_files_fault(who, public, swift, monkeypatch, tmp_path):
    keys = {
        "wrong secret": Keys(swift.writer.access_key, MARKER).environment(),
        "unknown key": Keys("ferflow:stranger", MARKER).environment(),
        "no credentials": {"AWS_EC2_METADATA_DISABLED": "true"},
    }[who]
    use(monkeypatch, {**swift.place(), **keys})
    monkeypatch.setenv("HOME", str(tmp_path))
    source = f"s3://{public}/photos"
    run = fakes.config(str(tmp_path / "labels"))
    job = ShardJob(run, PartName(0), tuple(fakes.ImageRef(f"{source}/{name}.png", 300, None, None) for name in "ab"))
    attempts = {
        "write": (StoreError, lambda: open_store(source).check_writable()),
        "first page": (SourceError, lambda: quick_count(source)),
        "list": (SourceError, lambda: list_images(source)),
        "read": (AccessError, lambda: read_uri(f"{source}/a.png", 1000)),
        "label": (AccessError, lambda: label_shard(job, fakes.tools())),
    }
    for kind, attempt in attempts.values():
        with pytest.raises(kind) as error:
            attempt()
        said = str(error.value)
        assert "\n" not in said
        assert source in said
        assert "credentials" in said or "signature" in said
        assert MARKER not in said
    assert not (tmp_path / "labels" / "_staging").exists()


def test_a_list_is_not_taken_for_one_of_absent_images(public, swift, monkeypatch, tmp_path):
    (tmp_path / "tonight.txt").write_text(f"s3://{public}/photos/a.png\n")
    assert list_images(str(tmp_path / "tonight.txt"))["bytes"].to_pylist() != [None]
    use(monkeypatch, {**swift.place(), "AWS_EC2_METADATA_DISABLED": "true"})
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SourceError, match="credentials"):
        list_images(str(tmp_path / "tonight.txt"))


def test_a_bucket_that_is_not_there_is_told_from_an_empty_one(swift_root):
    bucket = swift_root.split("/")[2]
    for source in ("s3://no-such-bucket/photos", "s3://no-such-bucket", "s3://no-such-bucket/*.jpg"):
        for ask in (list_images, quick_count):
            with pytest.raises(SourceError, match="bucket does not exist"):
                ask(source)
    for source in (f"s3://{bucket}", f"s3://{bucket}/photos", f"s3://{bucket}/*.jpg"):
        for ask in (list_images, quick_count):
            with pytest.raises(SourceError, match="there is nothing at"):
                ask(source)
    with pytest.raises(StoreError, match="bucket does not exist"):
        open_store("s3://no-such-bucket/labels").check_writable()


def test_a_reader_reads_and_does_not_write(public, swift, monkeypatch):
    use(monkeypatch, {**swift.place(), **swift.reader.environment()})
    assert quick_count(f"s3://{public}/photos") == list_images(f"s3://{public}/photos").num_rows == 1
    assert read_uri(f"s3://{public}/photos/a.png", 10**6) == fakes.picture(1)
    changes = [lambda store: store.check_writable(), lambda store: store.write_bytes("x", b"1"), lambda store: store.move("a.png", "b")]
    for change in changes:
        with pytest.raises(StoreError, match="Access Denied"):
            change(open_store(f"s3://{public}/photos"))


def test_what_may_not_be_read_is_that_images_fault(swift_root, swift, monkeypatch):
    open_store(swift_root).write_bytes("private.png", b"1")
    use(monkeypatch, {**swift.place(), **swift.reader.environment()})
    with pytest.raises(ImageError, match="permission denied"):
        read_uri(f"{swift_root}/private.png", 1000)


def commands_that_fail(public):
    photos, elsewhere = f"s3://{public}/photos", "s3://no-such-bucket"
    return {
        "wrong secret": (["label", photos, "--to", "{here}/labels"], "signature"),
        "missing bucket to read": (["label", f"{elsewhere}/photos", "--to", "{here}/labels"], "bucket does not exist"),
        "missing bucket to write": (["label", photos, "--to", f"{elsewhere}/labels"], "bucket does not exist"),
        "read-only bucket": (["label", photos, "--to", f"s3://{public}/labels"], "Access Denied"),
        "labels inside the photographs": (["label", photos, "--to", f"{photos}/labels"], "lies inside the source"),
        "nothing there": (["label", f"{photos}/none", "--to", "{here}/labels"], "there is nothing at"),
    }


@pytest.mark.parametrize("case", commands_that_fail(""))
def test_the_command_says_so_before_anything_starts(case, public, swift, commands, tmp_path):
    arguments, said = commands_that_fail(public)[case]
    keys = {"wrong secret": Keys(swift.writer.access_key, MARKER), "read-only bucket": swift.reader}.get(case, swift.writer)
    ended = commands.run(*(word.format(here=tmp_path) for word in arguments), "--json", env={**swift.place(), **keys.environment()})
    assert ended.code == (2 if "inside" in case else 1), ended.err
    assert said in ended.line
    assert ended.json["error"] in ended.line
    assert len(ended.err.strip().splitlines()) == 1
    assert MARKER not in ended.out + ended.err
    assert not (commands.home / ".prefect").exists()
    assert commands.left() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["label", "{url}", "--to", "labels"],
        ["label", "photos", "--to", "{url}"],
        ["verify", "{url}"],
        ["gallery", "{url}", "--to", "page.html"],
        ["export", "delta", "{url}"],
        ["export", "current", "{url}", "--sql"],
        ["export", "current", "labels", "--to", "{url}"],
        ["relabel", "{url}", "--model", "tiny"],
    ],
)
def test_no_command_repeats_a_secret_that_stands_in_an_address(arguments, capfd, monkeypatch, tmp_path):
    from flows.cli.main import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(fakes.picture(1))
    for url in (f"s3://AKIAEXAMPLE:{MARKER}/+@bucket/root", f"s3://AKIAEXAMPLE:{MARKER}@bucket/root"):
        assert main([word.format(url=url) for word in arguments] + ["--json"]) in (1, 2)
        told = "".join(capfd.readouterr())
        assert "credentials do not belong in an address" in told
        assert MARKER not in told
        assert not [file for file in tmp_path.rglob("*") if file.is_file() and MARKER.encode() in file.read_bytes()]
