"""What was forgotten does not come back: not by its address, not as a copy, not as a face under another pipeline, not with reviews."""

import json
import shutil
from dataclasses import replace

import pytest

from fer_core.commit.deny_list import FILE, read_deny_list
from fer_core.commit.plan import read_plan, write_plan
from fer_core.commit.publish import publish, read_manifest, staged_receipts, unfinished_shards
from fer_core.commit.recovery import finish_interrupted_commits
from fer_core.commit.verify import verify
from fer_core.erasure.forget import finish_forgetting, forget, undo
from fer_core.erasure.request import Request
from fer_core.errors import CommitError
from fer_core.pipeline.shard import label_shard
from fer_core.pipeline.shard_jobs import jobs
from fer_core.planning.draft import draft
from fer_core.review.corrections import FORMAT, VERSION
from fer_core.review.history import history
from fer_core.review.incoming import import_reviews
from fer_core.storage.paths import STAGING
from fer_core.storage.store import open_store
from tests.support import fakes
from tests.support.remembered import CROWD, Remembered, remember


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """After the photograph was forgotten."""
    folder = tmp_path_factory.mktemp("remembered")
    found = remember(str(folder / "root"), folder / "photos")
    forget(found.store, Request(uris=[found.uri]), "operator")
    return found


@pytest.fixture
def root(before, tmp_path):
    shutil.copytree(before.store.url(), tmp_path / "root")
    shutil.copytree(before.photos, tmp_path / "photos")
    for name in (CROWD, "same-as-before.png"):  # under the addresses that were forgotten
        assert (tmp_path / "photos" / name).exists()
    return Remembered(open_store(str(tmp_path / "root")), before.photos)


def planned(root, photos, run_id="night", started=100, **changes):
    config = replace(fakes.keeping_crops(fakes.config(root.store.url(), run_id)), started_us=fakes.STARTED_US + started, **changes)
    drawn = draft(root.store, config, fakes.inventory(fakes.refs(photos)), workers=1, force=False)
    return write_plan(root.store, drawn)


def staged(root, plan):
    return [label_shard(job, fakes.tools()) for job in jobs(plan.config, plan.images, sorted(set(plan.images["shard"].to_pylist())))]


def night(root, photos, **which):
    plan = planned(root, photos, **which)
    return publish(root.store, plan.config, staged(root, plan))


def test_a_denied_address_is_neither_listed_nor_read(root):
    plan = planned(root, root.photos)
    assert (plan.denied, plan.listed, plan.images.num_rows) == (2, 3, 0)
    assert root.traces(root.uri, root.copy, root.sha256) == []
    manifest = publish(root.store, plan.config, [])
    assert (manifest.denied, manifest.listed, manifest.unchanged) == (2, 3, 3)


def test_a_copy_under_another_name_leaves_neither_row_nor_crop(root, tmp_path):
    copy = tmp_path / "photos" / "elsewhere.png"
    shutil.copy(root.photos / CROWD, copy)
    manifest = night(root, tmp_path / "photos")
    assert (manifest.listed, manifest.denied, manifest.faces, manifest.statuses["labeled"]) == (3, 3, 2, 2)
    assert read_plan(root.store, "night").images["image_uri"].to_pylist() == [f"{tmp_path}/photos/image-00{n}.png" for n in (0, 2, 3)]
    assert root.traces(str(copy), f"{tmp_path}/photos/{CROWD}", root.sha256) == []
    assert verify(root.store).problems == ()
    again = planned(root, tmp_path / "photos", run_id="later", started=200)
    assert (again.denied, again.images.num_rows) == (3, 0)


def test_wherever_that_commit_is_cut_off(root, tmp_path):
    """It is repeated with the receipts of before; or the run is resumed, after another has begun."""
    plan = planned(root, tmp_path / "photos")
    receipts, whole = staged(root, plan), 0
    for change in range(1, 60):
        at = open_store(f"memory://denied-{change}/root")
        for path in root.store.list_files():
            at.write_bytes(path, root.store.read_bytes(path))
        config = replace(plan.config, root=at.url())
        try:
            publish(fakes.FaultyStore(at, change, "after"), config, receipts)
            whole = whole or change
        except fakes.CutOffError:
            if change % 2:
                publish(at, config, receipts)
            else:
                resume(at, config)
        assert (verify(at).problems, read_manifest(at, "night").denied) == ((), 2)
        assert Remembered(at, root.photos).traces(root.sha256, f"{tmp_path}/photos/{CROWD}") == []
        if whole:
            break
    assert whole > 10


def resume(store, config):
    finish_forgetting(store)
    finish_interrupted_commits(store)
    left, known = read_plan(store, config.run_id), staged_receipts(store, config.run_id)
    todo = jobs(config, left.images, unfinished_shards(left, known))
    publish(store, config, [*known.values(), *(label_shard(job, fakes.tools()) for job in todo)])


def test_what_a_killed_run_has_staged_is_cleared_by_the_next(root, tmp_path):
    plan = planned(root, tmp_path / "photos")
    staged(root, plan)
    assert len(root.traces(root.sha256)) >= 3
    finish_forgetting(root.store)
    assert root.traces(root.sha256, f"{tmp_path}/photos/{CROWD}") == []
    assert read_plan(root.store, "night").listed == plan.listed - 2
    other = root.store.list_files(f"{STAGING}/night")
    finish_forgetting(root.store)
    assert root.store.list_files(f"{STAGING}/night") == other


def test_a_face_stays_denied_under_another_pipeline(tmp_path):
    root = remember(str(tmp_path / "root"), tmp_path / "photos")
    face = next(row for row in root.rows("labels") if row["image_uri"] == root.uri and row["face_index"] == 0)
    forget(root.store, Request(face_ids=[face["face_id"]]), "operator")
    manifest = night(root, root.photos, model_digest="1" * 64)
    found = [row for row in root.rows("labels") if row["run_id"] == "night" and row["image_sha256"] == root.sha256]
    assert [row["face_index"] for row in found] == [1, 1]
    assert (manifest.faces, manifest.denied, verify(root.store).problems) == (4, 0, ())
    assert [row["n_faces"] for row in root.rows("images") if row["run_id"] == "night" and row["image_uri"] == root.uri] == [1]


def test_a_denied_face_that_a_killed_run_has_staged_is_cleared_and_its_image_is_labelled(tmp_path):
    root = remember(str(tmp_path / "root"), tmp_path / "photos")
    face = next(row for row in root.rows("labels") if row["image_uri"] == root.uri and row["face_index"] == 0)
    forget(root.store, Request(face_ids=[face["face_id"]]), "operator")
    plan = planned(root, root.photos, model_digest="1" * 64)
    staged(root, plan)
    finish_forgetting(root.store)
    assert [path for path in root.store.list_files(f"{STAGING}/night") if "/images/" not in path] == []
    assert read_plan(root.store, "night").listed == plan.listed
    resume(root.store, plan.config)
    assert (read_manifest(root.store, "night").faces, verify(root.store).problems) == (4, ())


def test_reviews_of_it_do_not_come_back_in_another_file(root, tmp_path):
    rows = history(root.store).to_pylist()
    entries = [
        {
            "image_sha256": sha256,
            "image_uri": uri,
            "box": [row["box_x"], row["box_y"], row["box_w"], row["box_h"]],
            "verdict": "anger",
            "previous_expression": row["previous_expression"],
            "previous_model": row["previous_model"],
            "reviewed_at": "2026-02-01T00:00:00Z",
        }
        for row, sha256, uri in [(rows[0], rows[0]["image_sha256"], rows[0]["image_uri"]), (rows[0], root.sha256, root.uri)]
    ]
    file = tmp_path / "corrections.json"
    value = {"format": FORMAT, "version": VERSION, "export_id": "0123456789abcdef", "reviewer": "Rita", "corrections": entries}
    file.write_text(json.dumps(value))
    found = import_reviews(root.store, file)
    assert (found.reviews, found.new) == (1, 1)
    assert root.traces(root.uri, root.sha256) == []


def test_undone_it_is_labelled_again(root):
    denied = read_deny_list(root.store)
    with pytest.raises(CommitError, match="nothing that was named is denied"):
        undo(root.store, Request(uris=["/nowhere.png"]), "operator")
    record = undo(root.store, Request(uris=[root.uri], contents=[root.sha256]), "operator", "consent")
    assert record.lifted == {"image": 1, "sha256": 1, "face": 0}
    kept = json.loads(root.store.read_bytes(record.path))
    assert (kept["reason"], kept["rows"], record.id[:5]) == ("consent", {}, "undo-")
    manifest = night(root, root.photos)
    assert (manifest.denied, manifest.listed, manifest.faces) == (1, 4, 2)  # the copy's address is still denied
    assert read_deny_list(root.store).key == denied.key


def test_a_damaged_deny_list_ends_a_night_and_a_removal(root):
    for damaged in (b"{", b"[]", root.store.read_bytes(FILE).replace(b'"key": "', b'"key": "x')):
        root.store.write_bytes(FILE, damaged)
        with pytest.raises(CommitError, match="the deny list cannot be read"):
            planned(root, root.photos)
        with pytest.raises(CommitError, match="the deny list cannot be read"):
            forget(root.store, Request(uris=["/x.png"]), "operator")
