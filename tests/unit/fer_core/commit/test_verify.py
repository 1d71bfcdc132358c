import hashlib
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_core.commit.publish import publish, read_manifest
from fer_core.commit.reader import read_images
from fer_core.commit.verify import verify
from fer_core.errors import CommitError
from fer_core.planning.incremental import load_processed_index
from fer_core.storage.paths import manifest_file, run_folder
from fer_core.storage.store import open_store
from fer_core.tables.parquet_writer import write_part
from tests.support import fakes
from tests.support.earlier import as_an_earlier_release


@pytest.fixture
def run(tmp_path):
    return fakes.config(tmp_path / "labels")


@pytest.fixture
def pictures(tmp_path):
    return fakes.refs(fakes.write_pictures(tmp_path / "photos", [1, 0, 2, 1]))


@pytest.fixture
def store(run, pictures):
    """A root with one committed run: two parts a table, four images, four faces."""
    fakes.label(fakes.keeping_crops(run), pictures)
    return open_store(run.root)


def test_a_whole_root(run, store, pictures):
    report = verify(store)
    assert (report.ok, report.runs, report.parts, report.rows, report.problems, report.notes) == (True, 1, 6, 12, (), ())
    fakes.label(replace(run, run_id="run-b"), pictures)
    report = verify(store)
    assert (report.ok, report.runs, report.parts, report.rows) == (True, 2, 10, 20)


def test_an_empty_root(run):
    report = verify(open_store(run.root))
    assert (report.ok, report.runs, report.parts, report.rows) == (True, 0, 0, 0)


@pytest.mark.parametrize("table", ["labels", "images", "faces"])
def test_harm_to_a_part(run, store, table):
    path = f"{run_folder(run, table)}/part-00001.parquet"
    data = store.read_bytes(path)
    for harmed in (data[:-1], data[:50] + b"!" + data[51:], b""):
        store.write_bytes(path, harmed)
        assert verify(store).problems == (f"damaged: {path} is not the file that was committed",)
    store.move(path, "elsewhere")
    assert verify(store).problems == (f"missing: {path}",)


def test_parts_of_an_earlier_release_are_whole(run, store, pictures):
    as_an_earlier_release(run.root)
    fakes.label(replace(run, run_id="run-b"), pictures)
    assert (verify(store).problems, verify(store).parts) == ((), 10)


@pytest.mark.parametrize("name", ["labeled_at", "needs_review"])
def test_a_part_without_another_column(run, store, name):
    rows = part(store, run, "labels", 1)
    promise(store, run, "labels", rows.drop_columns([name]))
    promised = f"other columns than the schema's: {run_folder(run, 'labels')}/part-00001.parquet"
    assert promised in verify(store).problems
    promise(store, run, "labels", rows.drop_columns([name, "novelty"]))
    assert promised in verify(store).problems


def promise(store, run, table, rows, data=None):
    """Replace a table's second part by other rows, and let the manifest promise exactly those bytes."""
    path = f"{run_folder(run, table)}/part-00001.parquet"
    data = data or write_part(rows, {})
    store.write_bytes(path, data)
    manifest = json.loads(store.read_bytes(manifest_file(run.run_id)))
    for part in manifest["parts"]:
        if part["path"] == path:
            part |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    store.write_bytes(manifest_file(run.run_id), json.dumps(manifest).encode())


def part(store, run, table, number):
    return pq.read_table(pa.BufferReader(store.read_bytes(f"{run_folder(run, table)}/part-0000{number}.parquet")))


def test_rows_that_are_there_twice(run, store):
    promise(store, run, "images", part(store, run, "images", 0).slice(0, 1))
    problems = verify(store).problems
    assert any("1 duplicate keys in images, such as" in problem for problem in problems)
    promise(store, run, "labels", part(store, run, "labels", 0).slice(0, 1))
    assert any("1 duplicate keys in labels" in problem for problem in verify(store).problems)


def test_rows_that_are_fewer_other_or_foreign(run, store):
    rows = part(store, run, "labels", 1)
    promise(store, run, "labels", rows.slice(0, 0))
    assert [problem.split(":")[0] for problem in verify(store).problems] == ["0 rows instead of 1"]
    promise(store, run, "labels", rows.drop(["entropy"]))
    assert [problem.split(":")[0] for problem in verify(store).problems] == ["other columns than the schema's"]
    foreign = rows.set_column(rows.column_names.index("run_id"), rows.schema.field("run_id"), pa.array(["run-z"]))
    promise(store, run, "labels", foreign)
    assert [problem.split(":")[0] for problem in verify(store).problems] == ["rows of another run"]
    promise(store, run, "labels", rows.select(["entropy"]))
    assert [problem.split(":")[0] for problem in verify(store).problems] == ["other columns than the schema's"]


def test_a_part_that_is_no_parquet(run, store):
    promise(store, run, "labels", None, b"PAR1 or so")
    assert [problem.split(":")[0] for problem in verify(store).problems] == ["unreadable"]


def test_counts_that_do_not_fit(run, store):
    manifest = json.loads(store.read_bytes(manifest_file("run-a")))
    store.write_bytes(manifest_file("run-a"), json.dumps({**manifest, "listed": 9}).encode())
    assert verify(store).problems == ("run run-a accounts for 4 images of 9",)
    statuses = manifest["statuses"] | {"labeled": 4, "no_face": 0}
    store.write_bytes(manifest_file("run-a"), json.dumps({**manifest, "statuses": statuses}).encode())
    assert ["images by status are" in problem for problem in verify(store).problems] == [True]
    store.write_bytes(manifest_file("run-a"), b"{")
    problems = verify(store).problems
    assert problems[0].startswith("the manifest of run run-a cannot be read")
    assert len(problems) == 7, "and no manifest has its parts"


@pytest.mark.parametrize(
    "path", ["labels/notes.txt", "labels/run_date=2026-01-01/run=run-a/part-00009.parquet", "images/run=run-z/x.parquet"]
)
def test_files_that_no_run_knows(store, path):
    store.write_bytes(path, b"?")
    assert verify(store).problems == (f"no committed run contains this file: {path}",)


def test_a_part_that_is_there_twice(run, store):
    path = f"{run_folder(run, 'labels')}/part-00001.parquet"
    for copy in (f"{run_folder(run, 'labels')}/part-00001 (copy).parquet", "labels/run_date=2026-01-02/run=run-b/part-00000.parquet"):
        store.write_bytes(copy, store.read_bytes(path))
        assert verify(store).problems == (f"no committed run contains this file: {copy}, a second copy of {path}",)
        store.remove_file(copy)
    manifest = json.loads(store.read_bytes(manifest_file("run-a")))
    twice = [part for part in manifest["parts"] if part["path"] == path]
    store.write_bytes(manifest_file("run-a"), json.dumps({**manifest, "parts": manifest["parts"] + twice}).encode())
    problems = verify(store).problems
    assert f"in manifests 2 times: {path}" in problems
    assert any("duplicate keys in labels" in problem for problem in problems)


def test_a_manifest_in_another_runs_place(run, store):
    store.write_bytes(manifest_file("run-b"), store.read_bytes(manifest_file("run-a")))
    assert verify(store).problems == ("the manifest of run run-b is that of run run-a",)


@pytest.mark.parametrize("table", ["labels", "faces"])
def test_rows_that_do_not_belong_together(run, store, table):
    """The same number of rows, but of other images than the images table says."""
    rows = part(store, run, table, 1)
    other = rows.set_column(rows.column_names.index("image_uri"), rows.schema.field("image_uri"), pa.array(["/elsewhere"] * rows.num_rows))
    promise(store, run, table, other)
    problems = verify(store).problems
    assert len(problems) == 2
    assert f"1 images have another number of faces in {table} than in images, such as" in problems[0]
    assert f"1 images in {table} are not in images, such as /elsewhere" in problems[1]


def test_a_torn_part_of_a_run_with_many_is_the_only_problem(run, pictures):
    run = replace(run, run_id="run-m")
    fakes.label(run, pictures, 1)
    store = open_store(run.root)
    path = f"{run_folder(run, 'images')}/part-00002.parquet"
    store.write_bytes(path, store.read_bytes(path)[:100])
    assert verify(store).problems == (f"damaged: {path} is not the file that was committed",)


def test_files_elsewhere_are_none_of_its_business(store):
    store.write_bytes("report.html", b"<p>")
    assert verify(store).ok


def test_runs_under_way_are_noted(run, store, pictures):
    other = replace(run, run_id="run-b")
    receipts = fakes.stage_run(other, pictures)
    assert verify(store).notes == ("staging of run run-b is left over",)
    with pytest.raises(fakes.CutOffError):
        publish(fakes.FaultyStore(store, 2, "after"), other, receipts, largest_part=0)
    report = verify(store)
    assert report.ok
    assert report.notes == ("run run-b is published in part and not committed: resume it", "staging of run run-b is left over")
    publish(store, other, receipts, largest_part=0)
    assert verify(store).notes == ()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("p_fear", float("nan")),
        ("confidence", float("nan")),
        ("p_fear", float("inf")),
        ("p_fear", -0.01),
        ("p_fear", 0.06),
        ("confidence", 0.9),
        ("p_fear", None),
        ("confidence", None),
    ],
)
def test_probabilities_that_are_none(run, store, column, value):
    """What an older release labelled with a model of weights that are no numbers."""
    rows = part(store, run, "labels", 0)
    at = rows.column_names.index(column)
    values = [value, *rows[column].to_pylist()[1:]]
    spoilt = rows.set_column(at, rows.schema.field(column), pa.array(values, pa.float32()))
    data = write_part(spoilt, {})
    path = f"{run_folder(run, 'labels')}/part-00000.parquet"
    store.write_bytes(path, data)
    manifest = json.loads(store.read_bytes(manifest_file(run.run_id)))
    for each in manifest["parts"]:
        if each["path"] == path:
            each |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    store.write_bytes(manifest_file(run.run_id), json.dumps(manifest).encode())
    (problem,) = verify(store).problems
    assert problem.startswith("1 faces whose probabilities are not finite, do not sum to 1, or whose largest one is not the confidence")
    assert problem.endswith(path)


def test_readers_take_no_part_that_is_not_the_one_committed(run, store, pictures):
    """Other bytes that are a sound Parquet file all the same: rows of another run, say."""
    manifest = read_manifest(store, run.run_id)
    (first, second) = manifest.parts_of("images")
    store.write_bytes(first.path, store.read_bytes(second.path))
    with pytest.raises(CommitError, match="is not the file that was committed"):
        read_images(store, manifest)
    with pytest.raises(CommitError, match="is not the file that was committed"):
        load_processed_index(store, run.source, run.pipeline_digest)
