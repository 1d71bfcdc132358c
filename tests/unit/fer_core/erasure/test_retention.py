"""Rows and crops past the age that a policy allows: they go, they do not come back, and readers see the old rows or the new."""

import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fer_core.commit.expired_list import FILE, ExpiredList, read_expired_list, remove_expired_list, write_expired_list
from fer_core.commit.part_reader import read_part
from fer_core.commit.plan import read_plan, write_plan
from fer_core.commit.policy import Policy, write_policy
from fer_core.commit.publish import committed_runs, publish, read_manifest, staged_receipts
from fer_core.commit.verify import verify
from fer_core.erasure.audit import FOLDER
from fer_core.erasure.forget import finish_forgetting, forget
from fer_core.erasure.request import Request
from fer_core.erasure.retention import finish_retention, remove_aged
from fer_core.errors import CommitError
from fer_core.pipeline.label_reuse import reuse_previous_labels
from fer_core.pipeline.shard import label_shard
from fer_core.pipeline.shard_jobs import jobs
from fer_core.planning.draft import draft
from fer_core.relabel.survey import survey
from fer_core.review.history import history
from fer_core.run.configuration import KEPT_CROPS, Answering
from fer_core.storage.store import open_store
from fer_core.tables.schema import SCHEMAS
from tests.support import fakes
from tests.support.every_change import EveryChange
from tests.support.remembered import CROWD, Remembered, remember

LABELS, CROPS = Policy(keep_labels_days=30), Policy(keep_crops_days=30)
EPOCH = datetime.fromtimestamp(0, UTC)
FIRST, TWO, COMMITTED, ALL = 1, 2, 3, 4
"""How many of the runs `first`, `second`, `third` and `killed`, which were planned a microsecond apart, are past their age."""
FIXED = ExpiredList("ab" * 32)
"""A key that does not differ from root to root."""


def clock(runs):
    return EPOCH + timedelta(days=30, microseconds=fakes.STARTED_US + runs)


def done(root, runs, store=None):
    return remove_aged(store or root.store, "operator@here", clock(runs))


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    folder = tmp_path_factory.mktemp("remembered")
    found = remember(str(folder / "root"), folder / "photos")
    write_expired_list(found.store, FIXED)
    return found


@pytest.fixture
def root(before, tmp_path):
    shutil.copytree(before.store.url(), tmp_path / "root")
    shutil.copytree(before.photos, tmp_path / "photos")  # with the times of the files
    found = Remembered(open_store(str(tmp_path / "root")), before.photos)
    write_policy(found.store, LABELS)
    return found


def planned(root, photos=None, run_id="night", started=100, force=False, **changes):
    config = replace(fakes.keeping_crops(fakes.config(root.store.url(), run_id)), started_us=fakes.STARTED_US + started, **changes)
    drawn = draft(root.store, config, fakes.inventory(fakes.refs(photos or root.photos)), workers=1, force=force)
    return write_plan(root.store, drawn)


def night(root, photos=None, **which):
    plan = planned(root, photos, **which)
    shards = jobs(plan.config, plan.images, sorted(set(plan.images["shard"].to_pylist())))
    return publish(root.store, plan.config, [label_shard(job, fakes.tools()) for job in shards])


def counts(root):
    return {table: len(root.rows(table)) for table in ("images", "labels", "faces")}


@pytest.mark.parametrize("any_root", ["local", "memory", "s3", pytest.param("swift", marks=pytest.mark.long)], indirect=True)
def test_nothing_names_it_on_any_storage_and_a_night_labels_nothing(any_root, tmp_path):
    root = remember(any_root, tmp_path / "photos")
    write_policy(root.store, Policy(keep_crops_days=7, keep_labels_days=30))
    record = done(root, ALL)
    assert root.traces(root.uri, root.copy, root.sha256, CROWD) == []
    assert (verify(root.store).problems, counts(root)) == ((), {"images": 0, "labels": 0, "faces": 0})
    assert record.rows == {"faces": 6, "images": 10, "labels": 12, "plan": 10, "reviews": 4, "staging": 17}
    assert (committed_runs(root.store), history(root.store).num_rows) == (["first", "second", "third"], 0)
    manifest = night(root, force=True)
    assert (manifest.expired, manifest.listed, manifest.deleted, manifest.faces) == (5, 0, 0, 0)
    assert root.traces(root.uri, root.copy, root.sha256, CROWD) == []


def test_only_old_runs_lose_rows_and_what_a_younger_run_has_does_not_expire(root):
    record = done(root, TWO)
    found = {}
    for run_id in committed_runs(root.store):
        manifest = read_manifest(root.store, run_id)
        manifest.check()
        found[run_id] = (manifest.listed, manifest.faces, manifest.removed_for_age, manifest.forgotten)
        assert manifest.forgetting == ()
    assert found == {
        "first": (0, 0, {"images": 4, "labels": 4, "faces": 4}, 0),
        "second": (0, 0, {"images": 1, "labels": 2, "faces": 2}, 0),
        "third": (5, 6, {}, 0),
    }
    assert (verify(root.store).problems, record.runs, record.reason) == ((), 2, "policy: keep_labels_days 30")
    assert (read_expired_list(root.store).images.num_rows, history(root.store).num_rows) == (0, 4)
    assert read_plan(root.store, "first").images.num_rows == 0
    assert len(staged_receipts(root.store, "killed")) == 3
    plan = planned(root)
    assert (plan.expired, plan.unchanged) == (0, 5)


def test_it_waits_for_an_interrupted_forget(root):
    """A part that was replaced by then is neither what the manifest has committed nor what would be left of it."""
    with pytest.raises(fakes.CutOffError):
        forget(fakes.FaultyStore(root.store, 4, "after"), Request(uris=[root.uri]), "operator")
    assert read_manifest(root.store, "first").forgetting
    with pytest.raises(CommitError, match="images are being forgotten"):
        done(root, ALL)
    finish_forgetting(root.store)
    done(root, ALL)
    assert (verify(root.store).problems, counts(root)) == ((), {"images": 0, "labels": 0, "faces": 0})


def test_crops_go_and_their_rows_stay(root):
    write_policy(root.store, CROPS)
    labels = sorted(map(str, root.rows("labels")))
    record = done(root, FIRST)
    assert record.rows == {"crops": 4}
    assert {(row["run_id"], row["crop_png"] is None) for row in root.rows("faces")} == {("first", True), ("second", False)}
    assert (verify(root.store).problems, sorted(map(str, root.rows("labels")))) == ((), labels)
    assert read_manifest(root.store, "first").removed_for_age == {"faces": 4}
    assert (done(root, FIRST), read_expired_list(root.store).images.num_rows) == (None, 0)
    other = Answering("1" * 64)
    assert (survey(root.store, other).images.num_rows, survey(root.store, other).without_crops) == (2, 3)
    assert done(root, ALL).rows == {"crops": 2, "staging": 17}
    assert (root.store.list_files("_staging"), read_plan(root.store, "killed").listed) == ([], 5)
    with pytest.raises(CommitError, match=r"no run .* has kept the crops"):
        survey(root.store, other)
    write_policy(root.store, LABELS)
    assert done(root, TWO).rows == {"faces": 6, "images": 5, "labels": 6, "plan": 5}
    assert read_manifest(root.store, "first").removed_for_age == {"images": 4, "labels": 4, "faces": 4}
    assert verify(root.store).problems == ()


def test_a_crop_that_is_gone_is_not_reused(root):
    write_policy(root.store, CROPS)
    done(root, FIRST)
    part = read_manifest(root.store, "first").parts_of("images")[0].path
    asked = [replace(ref, earlier_part=part) for ref in fakes.refs(root.photos)[:2]]
    config = fakes.config(root.store.url(), "night")
    assert len(reuse_previous_labels(root.store, config, asked).uris) == 2
    assert reuse_previous_labels(root.store, fakes.keeping_crops(config), asked).uris == frozenset()


def test_only_changed_content_is_labelled_again(root, tmp_path):
    """Of three files that were written again one has another content; a fourth was moved."""
    photos = tmp_path / "photos"
    night(root, photos)
    write_policy(root.store, Policy(keep_labels_days=1))
    assert remove_aged(root.store, "operator@here", clock(200)).rows["images"] == 15
    listed = fakes.refs(photos)
    assert planned(root, photos, run_id="same", started=10**12).expired == len(listed)
    for name in (CROWD, "image-000.png"):
        os.utime(photos / name, (1, 1))
    (photos / "image-003.png").write_bytes(fakes.picture(1, seed=77))
    (photos / "image-002.png").rename(photos / "moved.png")
    manifest = night(root, photos, run_id="later", started=10**12 + 1)
    assert (manifest.listed, manifest.expired, manifest.faces, manifest.denied) == (1, 4, 1, 0)
    assert {row["image_uri"] for row in root.rows("images")} == {str(photos / "image-003.png")}
    assert root.traces(str(photos / "moved.png"), root.sha256) == []
    assert verify(root.store).problems == ()
    again = planned(root, photos, run_id="again", started=10**12 + 2)
    assert (again.expired, again.unchanged, again.images.num_rows) == (4, 1, 0)


def test_what_a_run_was_labelling_meanwhile_is_left_out_at_its_commit(root):
    done(root, COMMITTED)
    config = read_plan(root.store, "killed").config
    manifest = publish(root.store, config, staged_receipts(root.store, "killed").values())
    assert (manifest.expired, manifest.listed, manifest.faces) == (5, 0, 0)
    assert (verify(root.store).problems, counts(root)["labels"]) == ((), 0)


def test_a_relabelling_that_waits_for_crops_is_discarded(root):
    plan = read_plan(root.store, "killed")
    waiting = replace(plan.config, run_id="waiting", source=KEPT_CROPS, keep_crops=False, started_us=fakes.STARTED_US + 10**9)
    write_plan(root.store, replace(plan, config=waiting))
    done(root, FIRST)
    with pytest.raises(CommitError, match="unknown run: waiting"):
        read_plan(root.store, "waiting")


def test_it_is_once_and_for_no_longer_age(root):
    assert done(root, 0) is None
    assert root.store.list_files(FOLDER) == []
    record = done(root, COMMITTED)
    before = state(root)
    assert (done(root, COMMITTED), state(root)) == (None, before)
    kept = json.loads(root.store.read_bytes(record.path))
    assert (kept["by"], kept["asked"], kept["runs"], record.id[:10]) == ("operator@here", {}, 3, "retention-")
    write_policy(root.store, Policy(keep_labels_days=31))
    assert planned(root).expired == 5
    write_policy(root.store, Policy())
    assert done(root, ALL) is None


def test_without_the_list_a_night_labels_them_again(root):
    done(root, COMMITTED)
    remove_expired_list(root.store)
    manifest = night(root)
    assert (manifest.expired, manifest.listed, manifest.faces) == (0, 5, 6)


def test_failures_that_a_night_tries_again_do_not_expire(root, tmp_path):
    """A file that was away while it was read, and one of which neither size nor time are known."""
    away = fakes.refs(root.photos)[0]
    run = replace(fakes.config(root.store.url(), "earlier"), started_us=fakes.STARTED_US - 1)
    missing, untold = (
        replace(away, uri=str(tmp_path / "gone.png")),
        replace(away, uri=str(tmp_path / "copy.png"), size=None, modified_us=None),
    )
    shutil.copy(away.uri, untold.uri)
    fakes.label(run, [missing, untold])
    assert {row["status"] for row in root.rows("images") if row["run_id"] == "earlier"} == {"missing", "labeled"}
    done(root, COMMITTED)
    expired = read_expired_list(root.store)
    assert expired.has_address(fakes.inventory([missing, untold])).to_pylist() == [False, True]
    assert expired.has_listing(fakes.inventory([missing, untold, away])).to_pylist() == [False, False, True]


def state(root):
    """Every file but the audit record, whose name and time differ."""
    return {path: root.store.read_bytes(path) for path in root.store.list_files() if not path.startswith(FOLDER)}


@pytest.mark.parametrize(("policy", "runs", "moment"), [(LABELS, ALL, "before"), (CROPS, FIRST, "after"), (LABELS, TWO, "after")])
def test_cut_off_anywhere_and_repeated_it_ends_in_the_same_place(before, policy, runs, moment):
    def anew(name):
        store = open_store(f"memory://aged-{runs}-{name}/root")
        for path in before.store.list_files():
            store.write_bytes(path, before.store.read_bytes(path))
        write_policy(store, policy)
        return Remembered(store, before.photos)

    undisturbed, changes = anew("whole"), 0
    done(undisturbed, runs)
    whole = state(undisturbed)
    for change in range(1, 200):
        cut = anew(change)
        try:
            done(cut, runs, EveryChange(cut.store, change, moment))
        except fakes.CutOffError:
            changes += 1
        else:
            break
        if change % 5 == 0:
            assert verify(cut.store).problems == ()
        done(cut, runs)
        assert state(cut) == whole
        assert len(cut.store.list_files(FOLDER)) == 1
    assert changes > 5


def test_a_run_a_removal_or_an_undone_policy_finishes_it(root):
    with pytest.raises(fakes.CutOffError):
        done(root, COMMITTED, EveryChange(root.store, 4, "after"))
    assert [note for note in verify(root.store).notes if "removal of rows" in note]
    write_policy(root.store, Policy())
    forget(root.store, Request(uris=["/nowhere.png"]), "operator")
    assert (counts(root)["labels"], verify(root.store).problems, verify(root.store).notes) == (
        0,
        (),
        ("staging of run killed is left over",),
    )
    assert (finish_retention(root.store), read_expired_list(root.store).pending) == (None, {})


def test_it_waits_for_a_removal_that_was_interrupted(root):
    with pytest.raises(fakes.CutOffError):
        forget(EveryChange(root.store, 3, "after"), Request(uris=[root.uri]), "operator")
    finish_forgetting(root.store)
    done(root, COMMITTED)
    assert (counts(root)["labels"], verify(root.store).problems) == (0, ())
    assert read_manifest(root.store, "first").forgotten == 1
    assert len(root.store.list_files(FOLDER)) == 2


@pytest.mark.parametrize("policy", [LABELS, CROPS])
def test_readers_see_the_old_rows_or_the_new_at_every_moment(root, policy):
    """Through manifests that they read before it, and through those of now."""
    write_policy(root.store, policy)
    store = open_store(root.store.url())
    early = [(run_id, part) for run_id in committed_runs(store) for part in read_manifest(store, run_id).parts]
    old = {part.path: read_part(store, part, SCHEMAS[part.table], run_id) for run_id, part in early}
    moments = 0

    def look():
        nonlocal moments
        moments += 1
        for run_id, part in early:
            rows, was = read_part(store, part, SCHEMAS[part.table], run_id), old[part.path]
            without = part.table == "faces" and rows["crop_png"].null_count == was.num_rows == rows.num_rows
            assert rows.equals(was) or not rows.num_rows or without
        report = verify(store)
        assert (report.problems, report.runs) == ((), 3)

    done(root, COMMITTED, EveryChange(root.store, 0, "after", seen=look))
    assert moments > 5


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: b"{}", lambda data: ExpiredList("ab").to_bytes()])
def test_a_damaged_list_ends_a_night_and_a_removal(root, damage):
    done(root, COMMITTED)
    root.store.write_bytes(FILE, damage(root.store.read_bytes(FILE)))
    for refused in (lambda: planned(root), lambda: done(root, ALL), lambda: finish_forgetting(root.store)):
        with pytest.raises(CommitError, match="the list of expired images cannot be read"):
            refused()


def test_a_list_holds_no_names_and_the_same_entries_give_the_same_bytes(root):
    done(root, COMMITTED)
    expired = read_expired_list(root.store)
    assert FILE not in root.traces(root.uri, root.sha256)
    assert expired.to_bytes() == root.store.read_bytes(FILE) == ExpiredList.from_bytes(expired.to_bytes()).to_bytes()
    assert expired.extended([]) == expired
