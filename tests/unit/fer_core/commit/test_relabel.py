"""Labels of another model from kept crops, in this process."""

from dataclasses import replace
from datetime import UTC, datetime

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from fer_core.commit.plan import read_plan
from fer_core.commit.publish import publish, read_manifest, staged_receipts, unfinished_shards
from fer_core.commit.verify import verify
from fer_core.errors import ClusterError, CommitError
from fer_core.export.current_view import views
from fer_core.labels import EXPRESSIONS
from fer_core.planning.incremental import load_processed_index, select_changed
from fer_core.relabel.changes import changes_of
from fer_core.relabel.shard import relabel_shard
from fer_core.relabel.survey import survey
from fer_core.run.configuration import Answering
from fer_core.storage.paths import manifest_file
from fer_core.storage.store import open_store
from flows.label_summary import model_told
from tests.support import fakes
from tests.support.relabelled import SeedPredictor, label, plan, relabel

PASSING = {"run_id", "labeled_at", "seen_at", "model_name"}


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "labels")


@pytest.fixture
def photos(tmp_path):
    return fakes.write_pictures(tmp_path / "photos", [1, 0, 2, 4, 0, 1, 3])


def rows(root, table, run_id):
    """The rows of a run without what passes, in order."""
    files = sorted(open_store(root).list_files(f"{table}/"))
    found = [row for file in files if f"/run={run_id}/" in file for row in pq.ParquetFile(f"{root}/{file}").read().to_pylist()]
    keys = [(row["image_uri"], row.get("face_index", 0)) for row in found]
    in_order = [row for _, row in sorted(zip(keys, found, strict=True), key=lambda pair: pair[0])]
    return [{name: value for name, value in row.items() if name not in PASSING} for row in in_order]


def current(root):
    with duckdb.connect() as database:
        database.execute(views(open_store(root)))
        return database.sql("SELECT image_uri, face_index, run_id, model_digest FROM current ORDER BY ALL").fetchall()


def test_the_rows_are_those_that_labelling_the_photographs_gives(root, photos, tmp_path):
    """To the bit, but for what passes: run and moment."""
    label(root, photos, seed=1)
    relabel(root, "again", 2, hour=1)
    label(tmp_path / "fresh", photos, "night", seed=2)
    for table in ("labels", "images"):
        ours, fresh = rows(root, table, "again"), rows(str(tmp_path / "fresh"), table, "night")
        assert len(ours) > 6
        assert ours == fresh
    assert rows(root, "labels", "again") != rows(root, "labels", "night")
    assert verify(open_store(root)).problems == ()


def test_no_photograph_is_read(root, photos):
    label(root, photos)
    for file in photos.iterdir():
        file.unlink()
    manifest = relabel(root, "again", 2, hour=1)
    assert (manifest.statuses["labeled"], manifest.statuses["no_face"], manifest.faces) == (5, 2, 11)


def test_the_new_labels_are_current(root, photos):
    label(root, photos)
    relabel(root, "again", 2, hour=1)
    found = current(root)
    assert len(found) == 11
    assert {run_id for _, _, run_id, _ in found} == {"again"}


def test_the_next_night_with_the_same_model_reads_nothing_and_with_another_everything(root, photos):
    label(root, photos, seed=1)
    relabel(root, "again", 2, hour=1)
    inventory = fakes.inventory(fakes.refs(photos))
    store = open_store(root)
    same = replace(fakes.config(root), model_digest=SeedPredictor(2).digest).pipeline_digest
    assert select_changed(inventory, load_processed_index(store, "/photos", same)).unchanged == 7
    other = replace(fakes.config(root), model_digest=SeedPredictor(3).digest).pipeline_digest
    selection = select_changed(inventory, load_processed_index(store, "/photos", other))
    assert (selection.unchanged, selection.deleted) == (0, 0)


def test_pictures_without_kept_crops_are_left_to_the_night(root, photos, tmp_path):
    label(root, photos, seed=1)
    more = fakes.write_pictures(tmp_path / "more", [2, 0])
    label(root, more, "second", seed=1, hour=1, keep_crops=False)
    found = survey(open_store(root), Answering(SeedPredictor(2).digest))
    assert (found.images.num_rows, found.without_crops) == (8, 1)  # what has no face needs no crop
    relabel(root, "again", 2, hour=2)
    digest = replace(fakes.config(root), model_digest=SeedPredictor(2).digest).pipeline_digest
    left = select_changed(fakes.inventory(fakes.refs(more)), load_processed_index(open_store(root), "/photos", digest)).new
    assert left["image_uri"].to_pylist() == [str(more / "image-000.png")]
    assert {run for uri, _, run, _ in current(root) if uri == str(more / "image-000.png")} == {"second"}


def test_a_relabelled_root_is_relabelled_from_the_first_crops(root, photos):
    label(root, photos, seed=1)
    relabel(root, "again", 2, hour=1)
    manifest = relabel(root, "third", 3, hour=2)
    assert (manifest.listed, manifest.unchanged, manifest.faces) == (7, 0, 11)
    assert {run for _, _, run, _ in current(root)} == {"third"}
    changes = changes_of(open_store(root), manifest)
    old, new = ([row["expression"] for row in rows(root, "labels", run)] for run in ("again", "third"))
    assert changes.changed == sum(one != other for one, other in zip(old, new, strict=True)) > 0
    assert verify(open_store(root)).ok


def test_a_model_that_has_labelled_already_has_nothing_to_do(root, photos):
    label(root, photos, seed=1)
    manifest = relabel(root, "same", 1, hour=1)
    assert (manifest.listed, manifest.unchanged, sum(manifest.statuses.values())) == (7, 7, 0)
    assert {run for _, _, run, _ in current(root)} == {"night"}
    relabel(root, "again", 2, hour=2)
    back = relabel(root, "back", 1, hour=3)
    assert (back.unchanged, back.faces) == (0, 11)


def test_another_prior_is_another_answer(root, photos):
    """Of the same model: all is labelled again, once, and the next night under that prior finds nothing to do."""
    label(root, photos, seed=1)
    manifest = relabel(root, "balanced", 1, hour=1, prior="balanced")
    assert (manifest.unchanged, manifest.faces) == (0, 11)
    store = open_store(root)
    assert survey(store, Answering(SeedPredictor(1).digest, "balanced")).images.num_rows == 0
    assert survey(store, Answering(SeedPredictor(1).digest, "balanced", 0.9)).images.num_rows == 7
    config = replace(fakes.config(root), model_digest=SeedPredictor(1).digest, prior="balanced")
    inventory = fakes.inventory(fakes.refs(photos))
    assert select_changed(inventory, load_processed_index(store, "/photos", config.pipeline_digest)).unchanged == 7
    assert manifest.run_config().answering == config.answering
    assert model_told(manifest).endswith(", prior balanced")
    assert verify(store).ok


def test_a_night_without_crops_is_relabelled_from_the_crops_of_an_earlier_one(root, photos):
    """What counts is the look, not the model that labelled."""
    label(root, photos, seed=1)
    label(root, photos, "second", seed=2, hour=1, keep_crops=False)
    assert relabel(root, "again", 3, hour=2).faces == 11


def test_crops_of_other_content_or_another_look_do_not_serve(root, photos):
    label(root, photos, seed=1)
    (photos / "image-000.png").write_bytes(fakes.picture(1, seed=99))
    label(root, photos, "second", seed=1, hour=1, keep_crops=False, min_face_px=15.0)
    found = survey(open_store(root), Answering(SeedPredictor(2).digest))
    assert (found.images.num_rows, found.without_crops) == (2, 5)
    label(root, photos, "third", seed=1, hour=2, keep_crops=False)
    found = survey(open_store(root), Answering(SeedPredictor(2).digest))
    assert (found.images.num_rows, found.without_crops) == (6, 1)


def test_rows_of_several_detectors_keep_their_own(root, photos, tmp_path):
    more = fakes.write_pictures(tmp_path / "more", [2, 0, 1])
    label(root, photos, seed=1)
    label(root, more, "second", seed=1, hour=1, detector_identity="fake-2")
    relabel(root, "again", 2, hour=2, shard_size=100)
    labels, images = rows(root, "labels", "again"), rows(root, "images", "again")
    assert {row["detector"] for row in labels if row["image_uri"].startswith(str(more))} == {"fake-2"}
    assert {row["detector"] for row in labels if row["image_uri"].startswith(str(photos))} == {"fake-1"}
    for folder, identity in ((photos, "fake-1"), (more, "fake-2")):
        digest = replace(fakes.config(root), detector_identity=identity, model_digest=SeedPredictor(2).digest).pipeline_digest
        assert {row["pipeline_digest"] for row in [*labels, *images] if row["image_uri"].startswith(str(folder))} == {digest}
        assert select_changed(fakes.inventory(fakes.refs(folder)), load_processed_index(open_store(root), "/", digest)).new.num_rows == 0
    third = relabel(root, "third", 3, hour=3)  # looks of rows, not of runs, lead to the crops
    assert third.faces == len(labels)
    assert [row["detector"] for row in rows(root, "labels", "third")] == [row["detector"] for row in labels]
    assert verify(open_store(root)).ok


def test_rows_keep_the_smallest_face_of_their_look(root, photos, tmp_path):
    """Each row has the digest that labelling its photograph as before with the new model would write, so that nothing is read again."""
    more = fakes.write_pictures(tmp_path / "more", [2, 0, 1])
    label(root, photos, seed=1)
    label(root, more, "second", seed=1, hour=1, min_face="1%")
    relabel(root, "again", 2, hour=2, shard_size=100)
    for folder, min_face in ((photos, None), (more, "1%")):
        digest = replace(fakes.config(root), min_face=min_face, model_digest=SeedPredictor(2).digest).pipeline_digest
        labels = [row for row in rows(root, "labels", "again") if row["image_uri"].startswith(str(folder))]
        assert {row["pipeline_digest"] for row in labels} == {digest}
        assert select_changed(fakes.inventory(fakes.refs(folder)), load_processed_index(open_store(root), "/", digest)).new.num_rows == 0
    assert verify(open_store(root)).ok


def test_shards_shrink_where_there_are_many_faces_in_a_picture(root, photos):
    label(root, photos, seed=1)
    found = survey(open_store(root), Answering(SeedPredictor(2).digest))
    assert [found.images_with(faces) for faces in (1, 11, 22)] == [1, 7, 14]
    planned = found.plan(3)
    assert planned["shard"].to_pylist() == [0, 0, 0, 1, 1, 1, 2]
    assert planned["image_uri"].to_pylist() == [ref.uri for ref in fakes.refs(photos)]


def test_what_answers_is_what_the_view_says(root, photos):
    """`missing` is no answer: the earlier one is relabelled. A picture that cannot be read any more has no labels to relabel."""
    label(root, photos, seed=1)
    listed = fakes.refs(photos)
    (photos / "image-000.png").write_bytes(b"nothing")
    (photos / "image-002.png").unlink()
    label(root, photos, "second", seed=1, hour=1, images=listed)
    relabel(root, "again", 2, hour=2)
    found = {uri: run for uri, _, run, _ in current(root)}
    assert str(photos / "image-000.png") not in found
    assert found[str(photos / "image-002.png")] == "again"
    assert len(found) == 4


def test_nothing_to_relabel_is_said(root, photos):
    with pytest.raises(CommitError, match="no run has been committed"):
        survey(open_store(root), Answering("2" * 64))
    label(root, photos, keep_crops=False)
    with pytest.raises(CommitError, match="label with --keep-crops first"):
        survey(open_store(root), Answering("2" * 64))


def test_cut_off_and_resumed(root, photos):
    label(root, photos, seed=1)
    store, before = open_store(root), current(root)
    config, todo = plan(root, "again", 2, hour=1)
    relabel_shard(todo[0], SeedPredictor(2))
    assert current(root) == before
    resumed = read_plan(store, "again")
    kept = staged_receipts(store, "again")
    assert unfinished_shards(resumed, kept) == [1, 2, 3]
    receipts = [*kept.values(), *(relabel_shard(job, SeedPredictor(2)) for job in todo[1:])]
    manifest = publish(store, config, receipts)
    assert manifest.faces == 11
    assert store.list_files("_staging") == []


def test_a_shard_done_twice_is_the_same_bytes(root, photos):
    label(root, photos, seed=1)
    _, todo = plan(root, "again", 2, hour=1)
    assert [relabel_shard(job, SeedPredictor(2)).parts for job in todo] == [relabel_shard(job, SeedPredictor(2)).parts for job in todo]


def test_parts_that_an_earlier_release_compacted_since_the_plan_are_found(root, photos):
    """A compaction gave parts other names, under which the plan does not know them."""
    label(root, photos, seed=1)
    config, todo = plan(root, "again", 2, hour=1)
    store = open_store(root)
    manifest = read_manifest(store, "night")
    moved = {part.path: part.path.replace("part-", "part-c1234abcd-") for part in manifest.parts}
    for old, new in moved.items():
        store.move(old, new)
    parts = tuple(replace(part, path=moved[part.path]) for part in manifest.parts)
    store.write_bytes(manifest_file("night"), replace(manifest, parts=parts, replaced=manifest.parts).to_bytes())
    committed = publish(store, config, [relabel_shard(job, SeedPredictor(2)) for job in todo])
    assert committed.faces == 11
    assert changes_of(store, committed).faces == 11


def test_damaged_crops_are_not_labelled(root, photos):
    label(root, photos, seed=1)
    _, todo = plan(root, "again", 2, hour=1, shard_size=100)
    store = open_store(root)
    path = next(part.path for part in read_manifest(store, "night").parts_of("faces"))
    data = store.read_bytes(path)
    store.write_bytes(path, data[:-1] + b"X")
    with pytest.raises(CommitError, match="is damaged"):
        relabel_shard(todo[0], SeedPredictor(2))


def test_crops_that_kill_workers_end_the_run_instead_of_the_labels(root, photos):
    label(root, photos, seed=1)
    _, todo = plan(root, "again", 2, hour=1)
    with pytest.raises(ClusterError, match=r"image-000\.png"):
        relabel_shard(replace(todo[0], crashed=True), SeedPredictor(2))


def test_changes_are_counted(root, photos):
    label(root, photos, seed=1)
    manifest = relabel(root, "again", 2, hour=1)
    changes = changes_of(open_store(root), manifest)
    old, new = (rows(root, "labels", run) for run in ("night", "again"))
    expected = np.zeros((8, 8), int)
    for one, other in zip(old, new, strict=True):
        expected[EXPRESSIONS.index(one["expression"]), EXPRESSIONS.index(other["expression"])] += 1
    assert np.array_equal(changes.matrix, expected)
    said = changes.to_json()
    assert said["faces"] == 11
    assert said["share_changed"] == pytest.approx(1 - np.trace(expected) / 11, abs=1e-6)
    assert said["confidence_before"] == pytest.approx(np.mean([row["confidence"] for row in old]), abs=1e-5)
    assert said["confidence_after"] == pytest.approx(np.mean([row["confidence"] for row in new]), abs=1e-5)
    assert said["needs_review_after"] == sum(row["needs_review"] for row in new)
    assert sum(count for _, _, count in changes.moves()) == changes.changed
    label(root, photos, "later", seed=3, hour=2)  # what comes afterwards does not matter
    assert changes_of(open_store(root), manifest).to_json() == said


def test_in_a_bucket(s3_root, tmp_path):
    photos = fakes.write_pictures(tmp_path / "photos", [1, 0, 2])
    label(s3_root, photos, seed=1)
    manifest = relabel(s3_root, "again", 2, hour=1)
    assert manifest.faces == 3
    assert changes_of(open_store(s3_root), manifest).faces == 3
    assert verify(open_store(s3_root)).ok


def test_the_purpose_is_the_earlier_one(root, photos):
    label(root, photos, seed=1)
    manifest = relabel(root, "again", 2, hour=1)
    assert (manifest.purpose, manifest.source) == ("tests", "relabel:kept-crops")
    assert datetime.fromisoformat(manifest.started_at) == datetime(2026, 1, 1, 1, tzinfo=UTC)
