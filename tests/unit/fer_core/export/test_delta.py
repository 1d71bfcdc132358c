"""The tables as Delta tables: the same files, a version a run."""

import builtins
import json
from datetime import UTC, datetime

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_core.commit.policy import Policy, write_policy
from fer_core.commit.verify import verify
from fer_core.erasure.forget import forget
from fer_core.erasure.request import Request
from fer_core.erasure.retention import remove_aged
from fer_core.errors import CommitError, StoreError
from fer_core.export import delta
from fer_core.export.delta import register
from fer_core.storage.store import open_store
from fer_core.tables.parquet_writer import write_part
from fer_core.tables.schema import IMAGES, LABELS
from tests.support import fakes, histories
from tests.support.earlier import as_an_earlier_release, earlier_schema
from tests.support.histories import Night, Outcome, labeled
from tests.support.remembered import remember

deltalake = pytest.importorskip("deltalake", reason="the extra `delta` is not installed")

NIGHTS = [
    Night("c", 0, {f"/photos/{number}.jpg": labeled(number % 3) if number % 3 else Outcome("no_face", True) for number in range(10)}),
    Night("b", 1, {"/photos/1.jpg": labeled(2)}),
    Night("a", 2, {"/photos/2.jpg": labeled(1), "/photos/0.jpg": Outcome("missing", False)}),
]
EMPTY = Night("empty", 3, {})


def opened(root, table="labels", version=None):
    """Through deltalake alone."""
    return deltalake.DeltaTable(f"{root}/_meta/delta/{table}", version=version, storage_options={"AWS_ALLOW_HTTP": "true"})


def rows(root, table="labels", version=None, predicate=None):
    names = ["image_uri", "run_id"] + (["face_index"] if table == "labels" else ["status"])
    return sorted(tuple(row.values()) for row in pa.table(opened(root, table, version).scan(names, predicate)).to_pylist())


def commits(root):
    """What each version says of itself. `DeltaTable.history` would hold up the S3 server, which lives in this process."""
    fs, folder = fsspec.url_to_fs(f"{root}/_meta/delta/labels/_delta_log")
    lines = [fs.cat_file(file).splitlines()[0] for file in sorted(fs.find(folder))]
    return [json.loads(line)["commitInfo"] for line in lines]


def without_deltalake(monkeypatch):
    real = builtins.__import__

    def absent(name, *given, **named):
        if name == "deltalake":
            raise ImportError(name)
        return real(name, *given, **named)

    monkeypatch.setattr(builtins, "__import__", absent)


def expected(nights, table="labels"):
    found = pa.concat_tables([histories.tables(night)[table == "labels"] for night in nights])
    return sorted((row["image_uri"], row["run_id"], row["face_index" if table == "labels" else "status"]) for row in found.to_pylist())


@pytest.fixture(params=["local", "s3"])
def root(request, tmp_path):
    """A folder with a name that needs encoding, or a bucket."""
    return str(tmp_path / "my labels é") if request.param == "local" else request.getfixturevalue("s3_root")


def test_each_run_is_a_version_that_can_be_gone_back_to(root):
    for table in ("labels", "images"):
        assert not opened_or_none(root, table)
    histories.commit(root, NIGHTS[0])
    histories.commit(root, NIGHTS[1])
    first = register(open_store(root), "labels")
    assert (first.table, first.version, first.runs, first.parts) == (f"{root}/_meta/delta/labels", 1, ("c", "b"), 5)
    histories.commit(root, NIGHTS[2])
    histories.commit(root, EMPTY)
    again = register(open_store(root), "labels")
    assert (again.version, again.runs, again.parts) == (2, ("a",), 6)
    idle = register(open_store(root), "labels")
    assert (idle.version, idle.runs, idle.parts) == (2, (), 6)
    assert rows(root) == expected(NIGHTS)
    for version in range(3):
        assert rows(root, version=version) == expected(NIGHTS[: version + 1])
    assert [said["fer.run_id"] for said in commits(root)] == ["c", "b", "a"]
    assert {said["fer.purpose"] for said in commits(root)} == {"tests"}
    assert rows(root, predicate="run = 'b'") == expected(NIGHTS[1:2])
    assert rows(root, predicate="run_date = '2026-01-01' AND p_neutral > 0.6 AND run <> 'c'") == expected(NIGHTS[1:])
    assert register(open_store(root), "images").runs == ("c", "b", "a")
    assert rows(root, "images") == expected(NIGHTS, "images")


def opened_or_none(root, table):
    try:
        return opened(root, table)
    except (deltalake.exceptions.TableNotFoundError, OSError):
        return None


def test_nothing_but_a_log_is_written(tmp_path):
    histories.commit(tmp_path, NIGHTS[0])
    before = fakes.tree(tmp_path)
    for table in ("labels", "images"):
        register(open_store(str(tmp_path)), table)
    after = fakes.tree(tmp_path)
    assert before.items() <= after.items()
    assert {name.rpartition("/")[0] for name in after.keys() - before.keys()} == {
        "_meta/delta/labels/_delta_log",
        "_meta/delta/images/_delta_log",
    }
    report = verify(open_store(str(tmp_path)))
    assert (report.ok, report.notes) == (True, ())


def test_the_log_promises_the_rows_and_describes_the_columns(tmp_path):
    histories.commit(tmp_path, NIGHTS[0])
    for table, schema in (("labels", LABELS), ("images", IMAGES)):
        register(open_store(str(tmp_path)), table)
        found = opened(tmp_path, table)
        fields = {field.name: field for field in found.schema().fields}
        assert list(fields) == [*schema.names, "run_date", "run"]
        assert fields["image_uri"].metadata["comment"] == schema.field("image_uri").metadata[b"description"].decode()
        assert found.metadata().partition_columns == ["run_date", "run"]
        assert found.history()[0]["fer.run_id"] == "c"
        assert found.count() == len(expected(NIGHTS[:1], table))
        assert found.schema().to_arrow().field("run_date").type == pa.date32()


def test_old_versions_outlive_a_checkpoint(tmp_path):
    for number in range(12):
        histories.commit(tmp_path, Night(f"run-{number:02d}", number, {"/x": labeled(1)}))
    assert register(open_store(str(tmp_path)), "labels").version == 11
    opened(tmp_path).create_checkpoint()
    opened(tmp_path).cleanup_metadata()
    assert len(rows(tmp_path)) == 12
    assert len(rows(tmp_path, version=3)) == 4
    histories.commit(tmp_path, Night("later", 99, {"/x": labeled(1)}))
    assert register(open_store(str(tmp_path)), "labels").runs == ("later",)


def test_a_table_that_an_earlier_release_made_gets_the_columns_that_came_later(root):
    """In a version of its own, once there are parts to add; old rows have nulls."""
    for night in NIGHTS[:2]:
        histories.commit(root, night)
    as_an_earlier_release(root)
    assert register(open_store(root), "labels", {"labels": earlier_schema(LABELS)}).version == 1
    assert register(open_store(root), "labels").version == 1
    histories.commit(root, NIGHTS[2])
    for runs in (("a",), ()):
        found = register(open_store(root), "labels")
        assert (found.version, found.runs) == (3, runs)
    assert [said.get("fer.added_columns") for said in commits(root)] == [None, None, "novelty", None]
    fields = {field.name: field for field in opened(root).schema().fields}
    assert fields.keys() == {*LABELS.names, "run_date", "run"}
    assert fields["novelty"].metadata["comment"] == LABELS.field("novelty").metadata[b"description"].decode()
    for version, nights in ((1, NIGHTS[:2]), (2, NIGHTS[:2]), (3, NIGHTS)):
        assert rows(root, version=version) == expected(nights)
    assert rows(root, predicate="novelty IS NULL") == expected(NIGHTS)


def test_a_table_over_parts_of_several_releases(root):
    histories.commit(root, NIGHTS[0])
    as_an_earlier_release(root)
    histories.commit(root, NIGHTS[1])
    assert register(open_store(root), "labels").version == 1
    assert rows(root, predicate="novelty IS NULL") == expected(NIGHTS[:2])


def compact(root, run_id):
    """The run's labels in one part, as its manifest promises them afterwards."""
    file = root / "_meta/runs" / run_id / "manifest.json"
    manifest = json.loads(file.read_bytes())
    old = [part for part in manifest["parts"] if part["table"] == "labels"]
    data = write_part(pa.concat_tables([pq.ParquetFile(root / part["path"]).read() for part in old]).replace_schema_metadata(), {})
    path = f"{old[0]['path'].rpartition('/')[0]}/part-all.parquet"
    (root / path).write_bytes(data)
    new = {"table": "labels", "path": path, "rows": sum(part["rows"] for part in old), "bytes": len(data), "sha256": "0" * 64}
    manifest["parts"] = [part for part in manifest["parts"] if part not in old] + [new]
    file.write_text(json.dumps(manifest))


def test_a_compacted_run_is_a_version_that_changes_no_row(tmp_path):
    for night in NIGHTS[:2]:
        histories.commit(tmp_path, night)
    register(open_store(str(tmp_path)), "labels")
    compact(tmp_path, "c")
    histories.commit(tmp_path, NIGHTS[2])
    found = register(open_store(str(tmp_path)), "labels")
    assert (found.version, found.runs, found.parts) == (3, ("a",), 3)
    assert [rows(tmp_path, version=version) for version in (2, 3)] == [expected(NIGHTS[:2]), expected(NIGHTS)]
    assert [said["fer.run_id"] for said in commits(tmp_path)] == ["c", "b", "c", "a"]
    log = (tmp_path / "_meta/delta/labels/_delta_log/00000000000000000002.json").read_text().splitlines()
    actions = [action for line in log for name, action in json.loads(line).items() if name in ("add", "remove")]
    assert [action["dataChange"] for action in actions] == [False] * 5
    assert register(open_store(str(tmp_path)), "labels").version == 3


def test_parts_that_no_manifest_promises_any_more_leave(tmp_path):
    for night in NIGHTS[:2]:
        histories.commit(tmp_path, night)
    register(open_store(str(tmp_path)), "labels")
    manifest = json.loads((tmp_path / "_meta/runs/c/manifest.json").read_bytes())
    dropped = next(part for part in manifest["parts"] if part["table"] == "labels")
    manifest["parts"].remove(dropped)
    (tmp_path / "_meta/runs/c/manifest.json").write_text(json.dumps(manifest))
    histories.commit(tmp_path, NIGHTS[2])
    found = register(open_store(str(tmp_path)), "labels")
    assert (found.version, found.runs, found.parts) == (3, ("a",), 5)
    assert len(rows(tmp_path)) == len(expected(NIGHTS)) - dropped["rows"]
    assert rows(tmp_path, version=1) == expected(NIGHTS[:2])
    assert register(open_store(str(tmp_path)), "labels").version == 3
    (tmp_path / "_meta/runs/b/manifest.json").unlink()
    assert (register(open_store(str(tmp_path)), "labels").version, rows(tmp_path, predicate="run = 'b'")) == (4, [])


def test_of_two_that_register_at_once_one_is_refused(tmp_path, monkeypatch):
    for night in NIGHTS[:2]:
        histories.commit(tmp_path, night)
    register(open_store(str(tmp_path)), "labels")
    histories.commit(tmp_path, NIGHTS[2])
    held = delta._Log.parts

    def overtaken(log):
        found = held(log)
        monkeypatch.setattr(delta._Log, "parts", held)
        stale = log._opened()
        register(open_store(str(tmp_path)), "labels")
        monkeypatch.setattr(log.__class__, "_opened", lambda _: stale)
        return found

    monkeypatch.setattr(delta._Log, "parts", overtaken)
    with pytest.raises(StoreError) as error:
        register(open_store(str(tmp_path)), "labels")
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    assert rows(tmp_path) == expected(NIGHTS)


def test_what_cannot_be_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(CommitError, match="no run that wrote labels has been committed"):
        register(open_store(str(tmp_path)), "labels")
    histories.commit(tmp_path, EMPTY)
    with pytest.raises(CommitError, match="no run that wrote labels has been committed"):
        register(open_store(str(tmp_path)), "labels")
    for url in ("memory://somewhere/labels", str(tmp_path / "100%25")):
        with pytest.raises(StoreError, match="deltalake cannot open"):
            register(open_store(url), "labels")
    without_deltalake(monkeypatch)
    with pytest.raises(StoreError, match=r"pip install 'ferflow\[delta\]'"):
        register(open_store(str(tmp_path)), "labels")


def test_a_log_that_is_damaged_is_one_line(tmp_path):
    histories.commit(tmp_path, NIGHTS[0])
    register(open_store(str(tmp_path)), "labels")
    (tmp_path / "_meta/delta/labels/_delta_log/00000000000000000000.json").write_text("{")
    with pytest.raises(StoreError, match="cannot register") as error:
        register(open_store(str(tmp_path)), "labels")
    assert "\n" not in str(error.value)
    assert "\x1b" not in str(error.value)


def test_credentials_that_only_a_profile_has(s3_root, tmp_path, monkeypatch):
    import s3fs

    (tmp_path / "credentials").write_text("[nightly]\naws_access_key_id = somebody\naws_secret_access_key = something\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "nightly")
    s3fs.S3FileSystem.clear_instance_cache()
    histories.commit(s3_root, NIGHTS[0])
    assert register(open_store(s3_root), "labels").version == 0
    assert fsspec.filesystem("s3", use_listings_cache=False).exists(f"{s3_root}/_meta/delta/labels/_delta_log/00000000000000000000.json")


def test_parts_without_forgotten_rows_are_registered_again(tmp_path):
    """One version a run; the log never names an image, and the table reads as the parts are."""
    found = remember(str(tmp_path / "root"), tmp_path / "photos")
    root = found.store.url()
    for table in ("labels", "images"):
        register(found.store, table)
    first = opened(root).version()
    record = forget(found.store, Request(uris=[found.uri]), "operator")
    assert record.delta == {"labels": f"version {first + 3}", "images": f"version {first + 3}"}
    assert {uri for uri, *_ in rows(root)} == {str(found.photos / f"image-00{number}.png") for number in (0, 3)}
    assert len(rows(root, "images")) == 6
    assert opened(root).version() == register(found.store, "labels").version
    assert found.traces(found.uri, found.copy, found.sha256) == []


def test_rows_past_their_age_leave_registered_tables(tmp_path):
    found = remember(str(tmp_path / "root"), tmp_path / "photos")
    register(found.store, "labels")
    write_policy(found.store, Policy(keep_labels_days=1))
    record = remove_aged(found.store, "operator", datetime.fromtimestamp(fakes.STARTED_US // 10**6 + 86_401, UTC))
    assert (list(record.delta), rows(found.store.url())) == (["labels"], [])


def test_a_table_that_was_never_registered_is_left_alone(tmp_path):
    found = remember(str(tmp_path / "root"), tmp_path / "photos")
    assert delta.refresh(found.store, "labels") is None
    assert forget(found.store, Request(uris=[found.uri]), "operator").delta == {}


def test_without_deltalake_the_removal_counts_and_says_so(tmp_path, monkeypatch):
    found = remember(str(tmp_path / "root"), tmp_path / "photos")
    register(found.store, "labels")
    imported = builtins.__import__
    monkeypatch.setattr(
        builtins, "__import__", lambda name, *rest: exec("raise ImportError") if name == "deltalake" else imported(name, *rest)
    )
    record = forget(found.store, Request(uris=[found.uri]), "operator")
    monkeypatch.undo()
    assert "not updated: a Delta table needs the package deltalake" in record.delta["labels"]
    register(found.store, "labels")
    assert {uri for uri, *_ in rows(found.store.url())} == {str(found.photos / f"image-00{number}.png") for number in (0, 3)}
