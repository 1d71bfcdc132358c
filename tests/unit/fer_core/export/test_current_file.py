"""`current` as one file: the right rows, whole or not at all, wherever root and target lie."""

import itertools
from dataclasses import replace

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from fer_core.commit.plan import Plan, write_plan
from fer_core.commit.publish import publish
from fer_core.errors import CommitError, StoreError, UsageError
from fer_core.export import current_file
from fer_core.export.current_file import FILE, LIMITS, CurrentExport, ExportLimits, export_current
from fer_core.pipeline.shard import label_shard
from fer_core.storage.spill import RowLimits
from fer_core.storage.store import open_store
from fer_core.tables.schema import LABELS
from tests.support import fakes, histories
from tests.support.earlier import as_an_earlier_release
from tests.support.histories import Night, Outcome, labeled

NIGHTS = [
    Night("b", 0, {f"/photos/{number:03d}.jpg": labeled(number % 3) if number % 3 else Outcome("no_face", True) for number in range(40)}),
    Night("a", 1, {f"/photos/{number:03d}.jpg": labeled(3) for number in range(0, 40, 7)}),
    Night("c", 2, {f"/photos/{number:03d}.jpg": Outcome("missing", False) for number in range(0, 40, 5)}),
]


def exported(target):
    """The file's rows; nothing else lies there."""
    fs, path = fsspec.url_to_fs(target)
    files = fs.find(path)
    assert [file.rpartition("/")[2] for file in files] == [FILE]
    with fs.open(files[0], "rb") as stream:
        return pq.ParquetFile(stream).read()


def triples(table):
    return [(row["image_uri"], row["face_index"], row["run_id"]) for row in table.to_pylist()]


@pytest.fixture
def root(any_root):
    for night in NIGHTS:
        histories.commit(any_root, night, shard_size=11)
    return any_root


@pytest.fixture
def folder(tmp_path):
    """A root on the local disk."""
    for night in NIGHTS:
        histories.commit(tmp_path / "labels", night)
    return tmp_path / "labels"


def export(root, target, limits=LIMITS) -> CurrentExport:
    return export_current(open_store(str(root)), open_store(str(target)), limits=limits)


def test_every_storage(root, tmp_path):
    target = f"{root}-current" if "://" in root else str(tmp_path / "current")
    found = export(root, target)
    rows = exported(target)
    assert triples(rows) == histories.current(NIGHTS)
    assert rows.schema.remove_metadata().equals(LABELS, check_metadata=True)
    assert found == CurrentExport(open_store(target).url(FILE), rows.num_rows, len(set(rows["image_uri"].to_pylist())), 3, 0, found.bytes)
    whole = open_store(target).read_bytes(FILE)
    assert found.bytes == len(whole)
    assert export(root, target, ExportLimits(bytes_ahead=1)) == found
    assert open_store(target).read_bytes(FILE) == whole, "the same root gives the same bytes"


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(nights=histories.nights())
def test_any_past_however_it_is_cut(nights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("past")
    for night in nights:
        histories.commit(folder / "labels", night, shard_size=2)
    found = export(folder / "labels", folder / "current", ExportLimits(RowLimits(2, 1)))
    assert triples(exported(str(folder / "current"))) == histories.current(nights)
    assert found.runs == len(nights)


def test_what_several_releases_wrote(folder, tmp_path):
    export(folder, tmp_path / "current")
    right = exported(str(tmp_path / "current"))
    as_an_earlier_release(folder)
    export(folder, tmp_path / "earlier")
    assert exported(str(tmp_path / "earlier")).equals(right)
    later = Night("d", 3, {"/photos/001.jpg": labeled(2)})
    histories.commit(folder, later)
    export(folder, tmp_path / "current")
    rows = exported(str(tmp_path / "current"))
    assert triples(rows) == histories.current([*NIGHTS, later])
    assert rows.schema.remove_metadata().equals(LABELS, check_metadata=True)


def test_the_file_says_what_it_is_and_prunes(folder, tmp_path):
    export(folder, tmp_path / "current", ExportLimits(RowLimits(30, 1)))
    file = pq.ParquetFile(tmp_path / "current" / FILE)
    assert (file.metadata.metadata[b"fer.export"], file.metadata.metadata[b"fer.schema_version"]) == (b"current", b"1")
    assert file.num_row_groups > 2
    bounds = []
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        names = [file.schema_arrow.names[column.column_index] for column in group.sorting_columns]
        assert names == ["image_uri", "face_index"]
        uri = group.column(LABELS.get_field_index("image_uri"))
        assert uri.compression == "ZSTD"
        bounds.append((uri.statistics.min, uri.statistics.max))
    assert all(before[1] < after[0] for before, after in itertools.pairwise(bounds))


def test_only_committed_runs_count(folder, tmp_path):
    run = replace(fakes.config(folder, "d"), started_us=fakes.STARTED_US + 9)
    fakes.stage_run(run, fakes.refs(fakes.write_pictures(tmp_path / "photos", [1, 2])))
    export(folder, tmp_path / "current")
    assert triples(exported(str(tmp_path / "current"))) == histories.current(NIGHTS)
    unlinked = folder / "_meta/runs/a/manifest.json"
    unlinked.rename(tmp_path / "kept.json")
    assert export(folder, tmp_path / "current").runs == 2
    assert triples(exported(str(tmp_path / "current"))) == histories.current([NIGHTS[0], NIGHTS[2]])


def test_a_root_without_faces(tmp_path):
    histories.commit(tmp_path / "labels", Night("a", 0, {"/x": Outcome("no_face", True)}))
    histories.commit(tmp_path / "labels", Night("b", 1, {}))
    assert export(tmp_path / "labels", tmp_path / "current").faces == 0
    assert exported(str(tmp_path / "current")).schema.names == LABELS.names


def test_images_that_have_left_are_told_for_each_source(tmp_path):
    photos = fakes.refs(fakes.write_pictures(tmp_path / "photos", [1, 1]))
    for number, (source, deleted) in enumerate([("/one", 5), ("/two", 2), ("/one", 3)]):
        run = replace(fakes.config(tmp_path / "labels", f"run-{number}", source), started_us=fakes.STARTED_US + number)
        store = open_store(run.root)
        write_plan(store, Plan(run, fakes.plan_table(photos, 9), listed=2, unchanged=0, deleted=deleted))
        publish(store, run, [label_shard(job, fakes.tools()) for job in fakes.jobs(run, photos, 9)])
    assert export(tmp_path / "labels", tmp_path / "current").deleted == 5


@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_a_harmed_part_leaves_the_earlier_export_as_it_was(folder, tmp_path, harm):
    export(folder, tmp_path / "current")
    before = fakes.tree(tmp_path / "current")
    part = next((folder / "labels").rglob("run=a/*.parquet"))
    data = part.read_bytes()
    part.unlink() if harm == "missing" else part.write_bytes(data[:60] + b"!" + data[61:])
    with pytest.raises(CommitError, match=rf"{harm}: labels/run_date=.*/run=a/part-"):
        export(folder, tmp_path / "current")
    assert fakes.tree(tmp_path / "current") == before


@pytest.mark.parametrize("moment", ["_contents", "_write"])
def test_an_interrupted_export_leaves_nothing_or_the_earlier_one(folder, tmp_path, monkeypatch, moment):
    whole = getattr(current_file, moment)

    def interrupted(*given):
        if moment == "_write":
            whole(*given)
        raise KeyboardInterrupt

    for _ in range(2):
        before = fakes.tree(tmp_path / "current")
        with monkeypatch.context() as patch:
            patch.setattr(current_file, moment, interrupted)
            with pytest.raises(KeyboardInterrupt):
                export(folder, tmp_path / "current")
        assert fakes.tree(tmp_path / "current") == before
        export(folder, tmp_path / "current")


def test_a_full_disk_is_one_line(folder, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pa.ipc, "new_file", full)
    with pytest.raises(StoreError, match=r"cannot write to .*: No space left on device"):
        export(folder, tmp_path / "current", ExportLimits(sorting=RowLimits(1)))
    assert fakes.tree(tmp_path / "current") == {}


def test_a_place_with_anything_else_is_refused(folder, tmp_path):
    target = tmp_path / "current"
    export(folder, target)
    (target / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="is neither empty nor an earlier export"):
        export(folder, target)
    (target / "notes.txt").unlink()
    for theirs in (b"mine", next(folder.rglob("*.parquet")).read_bytes(), b""):
        (target / FILE).write_bytes(theirs)
        with pytest.raises(StoreError, match="is neither empty nor an earlier export"):
            export(folder, target)
        assert (target / FILE).read_bytes() == theirs
    with pytest.raises(StoreError, match="is a file, not a folder"):
        export(folder, target / FILE)


@pytest.mark.parametrize("inside", ["", "labels", "labels/run_date=2026-01-01", "new", "_meta/runs"])
def test_no_export_inside_the_root(folder, tmp_path, inside):
    (tmp_path / "link").symlink_to(folder)
    before = fakes.tree(folder)
    for root in (folder, tmp_path / "link"):
        with pytest.raises(UsageError, match="inside the labels root"):
            export(folder, root / inside)
    assert fakes.tree(folder) == before


def test_a_name_that_begins_alike_is_outside(folder, tmp_path):
    export(folder, f"{folder}-current")


def test_no_run_no_export(tmp_path):
    with pytest.raises(CommitError, match="no run has been committed under"):
        export(tmp_path / "nothing", tmp_path / "current")
    assert not (tmp_path / "current").exists()
