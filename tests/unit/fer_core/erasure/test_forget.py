"""Forgetting: nothing of the root names the image afterwards, wherever it was interrupted, and readers see the old rows or the new."""

import json
import shutil

import duckdb
import pytest

from fer_core.commit.deny_list import FILE, DenyList, read_deny_list, write_deny_list
from fer_core.commit.part_reader import read_part
from fer_core.commit.plan import read_plan
from fer_core.commit.publish import committed_runs, read_manifest, staged_receipts, unfinished_shards
from fer_core.commit.verify import verify
from fer_core.erasure.audit import FOLDER
from fer_core.erasure.forget import finish_forgetting, forget
from fer_core.erasure.request import Request
from fer_core.errors import CommitError
from fer_core.review.history import history
from fer_core.storage.paths import STAGING
from fer_core.storage.store import open_store
from fer_core.tables.schema import SCHEMAS
from tests.support import fakes
from tests.support.every_change import EveryChange
from tests.support.remembered import Remembered, remember

FIXED = DenyList("ab" * 32)
"""A key that does not differ from root to root."""


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    folder = tmp_path_factory.mktemp("remembered")
    found = remember(str(folder / "root"), folder / "photos")
    write_deny_list(found.store, FIXED)
    return found


@pytest.fixture
def root(before, tmp_path):
    shutil.copytree(before.store.url(), tmp_path / "root")
    return Remembered(open_store(str(tmp_path / "root")), before.photos)


def state(root):
    """Every file but the audit record, whose name and time differ; without `fer.config`, which has the root's address."""
    return {path: root.store.read_bytes(path) for path in root.store.list_files() if not path.startswith(FOLDER)}


def done(root, request, store=None):
    return forget(store or root.store, request, "operator@here", "request 17")


def test_nothing_names_it_on_any_storage(any_root, tmp_path):
    root = remember(any_root, tmp_path / "photos")
    record = done(root, Request(uris=[root.uri]))
    assert root.traces(root.uri, root.copy, root.sha256, *map(root.uri.rpartition("/")[2].__add__, ["", '"'])) == []
    assert (verify(root.store).problems, history(root.store).num_rows) == ((), 2)
    assert {row["image_uri"] for row in root.rows("images")} == {str(root.photos / f"image-00{n}.png") for n in (0, 2, 3)}
    assert record.rows == {"faces": 4, "images": 4, "labels": 8, "plan": 6, "reviews": 2, "staging": 10}


def test_what_manifests_and_plans_say_afterwards(root):
    done(root, Request(contents=[root.sha256]))
    counts = {}
    for run_id in committed_runs(root.store):
        manifest = read_manifest(root.store, run_id)
        manifest.check()
        counts[run_id] = (manifest.listed, manifest.statuses["labeled"], manifest.faces, manifest.forgotten, manifest.forgotten_faces)
        assert manifest.forgetting == ()
        assert read_plan(root.store, run_id).listed == manifest.listed == read_plan(root.store, run_id).images.num_rows
    assert counts == {"first": (3, 2, 2, 1, 2), "second": (0, 0, 0, 1, 2), "third": (3, 2, 2, 2, 4)}


def test_parts_without_it_are_the_same_bytes(root):
    before = state(root)
    done(root, Request(uris=[root.uri]))
    after = state(root)
    other = [path for path in after if "run=first/part-00001" in path]
    assert len(other) == 3
    assert all(after[path] == before[path] for path in other)


def test_a_resumed_run_does_without_it(root):
    done(root, Request(uris=[root.uri]))
    plan = read_plan(root.store, "killed")
    assert plan.images["image_uri"].to_pylist() == [str(root.photos / f"image-00{n}.png") for n in (0, 2, 3)]
    assert unfinished_shards(plan, staged_receipts(root.store, "killed")) == [0]


def test_a_face_goes_and_the_others_keep_index_and_id(root):
    face = next(row for row in root.rows("labels") if row["image_uri"] == root.uri and row["face_index"] == 0)
    record = done(root, Request(face_ids=[face["face_id"]]))
    left = [row for row in root.rows("labels") if row["image_sha256"] == root.sha256]
    assert [row["face_index"] for row in left] == [1] * 4
    assert face["face_id"] not in {row["face_id"] for row in left}
    assert [row["face_index"] for row in root.rows("faces") if row["image_sha256"] == root.sha256] == [1, 1]
    assert {row["n_faces"] for row in root.rows("images") if row["image_sha256"] == root.sha256} == {1}
    assert (record.rows["labels"], verify(root.store).problems) == (4, ())
    assert history(root.store).num_rows == 3
    other = next(row["face_id"] for row in left)
    done(root, Request(face_ids=[other]))
    images = [row for row in root.rows("images") if row["image_sha256"] == root.sha256]
    assert {(row["status"], row["n_faces"]) for row in images} == {("no_face", 0)}
    assert verify(root.store).problems == ()


def test_the_audit_record_names_nothing(root):
    record = done(root, Request(uris=[root.uri]))
    kept = json.loads(root.store.read_bytes(record.path))
    assert {name: kept[name] for name in ("by", "reason", "asked", "runs")} == {
        "by": "operator@here",
        "reason": "request 17",
        "asked": {"image": 1, "sha256": 0, "face": 0},
        "runs": 4,
    }
    assert root.traces(root.uri, root.sha256) == []
    assert done(root, Request(uris=[root.uri])) is None
    assert root.store.list_files(FOLDER) == [record.path]


def test_what_is_unknown_is_denied(root):
    before = state(root)
    record = done(root, Request(uris=["/nowhere.png"]))
    assert (record.rows, record.runs) == ({}, 0)
    assert {path for path, data in state(root).items() if before.get(path) != data} == {FILE}
    with pytest.raises(CommitError, match="no committed run has 1 of the faces"):
        done(root, Request(face_ids=["0" * 64]))


def requests(root):
    face = next(row["face_id"] for row in root.rows("labels") if row["image_uri"] == root.uri)
    return {"image": Request(uris=[root.uri]), "digest": Request(contents=[root.sha256]), "face": Request(face_ids=[face])}


@pytest.mark.parametrize(("kind", "moment", "step"), [("image", "before", 1), ("face", "after", 4)])
def test_cut_off_anywhere_and_repeated_it_ends_in_the_same_place(before, kind, moment, step):
    """step: of a face every so many changes; the code is the same."""

    def anew(name):
        store = open_store(f"memory://{kind}-{name}/root")
        for path in before.store.list_files():
            store.write_bytes(path, before.store.read_bytes(path))
        return Remembered(store, before.photos)

    request, undisturbed, changes = requests(before)[kind], anew("whole"), 0
    done(undisturbed, request)
    whole = state(undisturbed)
    for change in range(1, 200, step):
        cut = anew(change)
        try:
            done(cut, request, EveryChange(cut.store, change, moment))
        except fakes.CutOffError:
            changes += 1
        else:
            break
        if change % 5 == 0:
            assert verify(cut.store).problems == ()
        done(cut, request)
        assert state(cut) == whole
        assert len(cut.store.list_files(FOLDER)) == 1
    assert changes * step > 15


def test_another_removal_or_a_run_finishes_it(before, root):
    with pytest.raises(fakes.CutOffError):
        done(root, Request(uris=[root.uri]), EveryChange(root.store, 4, "after"))
    assert [note for note in verify(root.store).notes if "removal of rows" in note]
    assert finish_forgetting(root.store) is not None
    assert (finish_forgetting(root.store), read_deny_list(root.store).pending) == (None, {})
    assert root.traces(root.uri, root.copy, root.sha256) == []


def test_readers_see_the_old_rows_or_the_new_at_every_moment(root):
    """Through manifests that they read before it, through those of now, and by the names of files alone."""
    store = open_store(root.store.url())
    early = [(run_id, part) for run_id in committed_runs(store) for part in read_manifest(store, run_id).parts]
    old = {path: read_part(store, part, SCHEMAS[part.table], run_id) for run_id, part in early for path in [part.path]}
    moments = 0

    def look():
        nonlocal moments
        moments += 1
        for run_id, part in early:
            rows = read_part(store, part, SCHEMAS[part.table], run_id)
            assert rows.num_rows in (
                old[part.path].num_rows,
                sum(uri != root.uri and uri != root.copy for uri in old[part.path]["image_uri"].to_pylist()),
            )
        report = verify(store)
        assert (report.problems, report.runs) == ((), 3)
        with duckdb.connect() as database:
            for table in ("images", "labels"):
                database.execute(f"CREATE TABLE {table} AS FROM read_parquet('{store.url()}/{table}/*/*/*.parquet')")
            missing = database.execute(
                "WITH counted AS (SELECT run_id, image_uri, count(*) AS faces FROM labels GROUP BY ALL) "
                "SELECT count(*) FROM images LEFT JOIN counted USING (run_id, image_uri) WHERE n_faces > coalesce(faces, 0)"
            )
            assert missing.fetchall() == [(0,)]

    done(root, Request(uris=[root.uri]), EveryChange(root.store, 0, "after", seen=look))
    assert moments > 15


def test_a_damaged_part_is_one_line_and_the_removal_can_be_repeated(root):
    path = next(path for path in root.store.list_files("labels") if "run=third/part-00000" in path)
    data = root.store.read_bytes(path)
    root.store.write_bytes(path, data[:-1])
    with pytest.raises(CommitError, match="is damaged"):
        done(root, Request(uris=[root.uri]))
    root.store.write_bytes(path, data)
    done(root, Request(uris=[root.uri]))
    assert root.traces(root.uri, root.copy, root.sha256) == []


def test_unfinished_files_of_a_killed_removal_go(root):
    for folder in ("labels/run_date=2026-01-01/run=first", STAGING, "_meta/runs/first"):
        root.store.write_bytes(f"{folder}/.x.0123456789abcdef.tmp", root.uri.encode())
    done(root, Request(uris=[root.uri]))
    assert [path for folder in ("labels", STAGING, "_meta") for path in root.store.list_unfinished(folder)] == []
