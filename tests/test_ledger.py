from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.commit import publish
from fer_core.errors import CommitError
from fer_core.ledger import KNOWN, known_images, select_new
from fer_core.schema import IMAGE_STATUSES, INVENTORY
from fer_core.store import open_store
from tests import fakes

URIS = st.sampled_from(["/a", "/b", "/c", "/d"])
SIZES = st.sampled_from([None, 1, 2])
TAGS = st.sampled_from([None, "x", "y"])
TIMES = st.sampled_from([None, 10, 20])
LISTED = st.dictionaries(URIS, st.tuples(SIZES, TAGS, TIMES))
ANSWERED = st.dictionaries(
    URIS, st.tuples(SIZES, TAGS, TIMES, st.sampled_from(IMAGE_STATUSES), st.sampled_from(["p", "q", None]), st.booleans(), st.booleans())
)


def moment(microseconds):
    return None if microseconds is None else datetime.fromtimestamp(microseconds, UTC)


def known_table(rows):
    columns = ["bytes", "etag", "modified_at", "status", "pipeline_digest", "image_sha256", "same_source"]
    records = []
    for uri, row in rows.items():
        record = dict(zip(columns, row, strict=True))
        record |= {"image_uri": uri, "modified_at": moment(record["modified_at"]), "image_sha256": "ff" if record["image_sha256"] else None}
        records.append(record)
    return pa.Table.from_pylist(records, KNOWN)


def listing(rows):
    records = [{"image_uri": uri, "bytes": rows[uri][0], "etag": rows[uri][1], "modified_at": moment(rows[uri][2])} for uri in sorted(rows)]
    return pa.Table.from_pylist(records, INVENTORY)


def needs_reading(listed, answered):
    """The rule, one image at a time."""
    if answered is None:
        return True
    size, tag, time = listed
    old_size, old_tag, old_time, status, pipeline, has_digest, _ = answered
    if status == "missing" or (status == "unreadable" and not has_digest) or pipeline != "p":
        return True
    if size is None or size != old_size:
        return True
    if tag is not None and old_tag is not None:
        return tag != old_tag
    return time is None or time != old_time


@settings(deadline=None, max_examples=300)
@given(LISTED, ANSWERED)
def test_the_selection_follows_the_rule(listed, answered):
    inventory = listing(listed)
    selection = select_new(inventory, known_table(answered), "p")
    expected = [uri for uri in sorted(listed) if needs_reading(listed[uri], answered.get(uri))]
    assert selection.new["image_uri"].to_pylist() == expected
    assert selection.new.schema.equals(INVENTORY)
    assert selection.unchanged == len(listed) - len(expected)
    assert selection.deleted == sum(1 for uri, row in answered.items() if row[-1] and uri not in listed)


def test_tables_in_many_chunks():
    rows = dict.fromkeys([f"/{number}" for number in range(6)], (1, None, 10))
    inventory = pa.concat_tables([listing(rows).slice(start, 2) for start in (0, 2, 4)])
    known = known_table(dict.fromkeys(list(rows)[:5], (1, None, 10, "labeled", "p", True, True)))
    selection = select_new(inventory, pa.concat_tables([known.slice(0, 1), known.slice(1)]), "p")
    assert (selection.new["image_uri"].to_pylist(), selection.unchanged) == (["/5"], 5)


def test_nothing_known_and_nothing_listed():
    assert select_new(listing({}), KNOWN.empty_table(), "p").new.num_rows == 0
    assert select_new(listing({"/a": (1, None, 1)}), KNOWN.empty_table(), "p").new.num_rows == 1


@pytest.fixture
def photos(tmp_path):
    return fakes.write_pictures(tmp_path / "photos", [1, 0, 2, 1])


@pytest.fixture
def run(tmp_path, photos):
    return fakes.config(tmp_path / "labels", source=str(photos))


def later(run, run_id, minutes=1, **changes):
    return replace(run, run_id=run_id, started_us=run.started_us + minutes * 60_000_000, **changes)


def select(run, photos):
    known = known_images(open_store(run.root), run.source)
    return select_new(fakes.inventory(fakes.refs(photos)), known, run.pipeline_digest)


def test_the_second_night_reads_what_changed(run, photos):
    store = open_store(run.root)
    assert known_images(store, run.source).num_rows == 0
    fakes.label(run, fakes.refs(photos))
    assert (select(run, photos).new.num_rows, select(run, photos).unchanged) == (0, 4)

    (photos / "image-001.png").write_bytes(fakes.picture(3, seed=9) + b"longer")
    (photos / "image-002.png").unlink()
    (photos / "new.png").write_bytes(fakes.picture(1))
    found = select(run, photos)
    assert [uri.rsplit("/", 1)[1] for uri in found.new["image_uri"].to_pylist()] == ["image-001.png", "new.png"]
    assert (found.unchanged, found.deleted) == (2, 1)


def test_another_pipeline_reads_everything(run, photos):
    fakes.label(run, fakes.refs(photos))
    other = later(run, "run-b", min_face_px=40.0)
    assert select(other, photos).new.num_rows == 4
    fakes.label(other, fakes.refs(photos))
    # the latest answers are the other pipeline's now: who goes back wants the old one's to be the latest again
    assert select(run, photos).new.num_rows == 4
    assert select(other, photos).unchanged == 4


def test_the_latest_row_wins_whatever_the_ids_say(run, photos):
    missing = [fakes.refs(photos)[0]]
    fakes.label(later(run, "z-first", 0), fakes.refs(photos))
    (photos / "image-000.png").rename(photos.parent / "away.png")
    fakes.label(later(run, "a-second", 1), missing)
    (photos.parent / "away.png").rename(photos / "image-000.png")
    known = known_images(open_store(run.root), run.source)
    rows = {row["image_uri"].rsplit("/", 1)[1]: row for row in known.to_pylist()}
    assert len(known) == len(rows) == 4
    assert (rows["image-000.png"]["status"], rows["image-000.png"]["run_id"]) == ("missing", "a-second")
    assert [uri.rsplit("/", 1)[1] for uri in select(run, photos).new["image_uri"].to_pylist()] == ["image-000.png"]


def test_deletions_are_a_matter_of_one_source(run, photos, tmp_path):
    others = fakes.write_pictures(tmp_path / "others", [1, 1])
    fakes.label(run, fakes.refs(photos))
    fakes.label(later(run, "run-b", source=str(others)), fakes.refs(others))
    assert select(run, photos).deleted == 0
    # an image that a run of another source saw last is still this source's
    fakes.label(later(run, "run-c", 2, source="list.txt"), fakes.refs(photos)[:1])
    (photos / "image-000.png").unlink()
    assert select(run, photos).deleted == 1


def test_only_committed_runs_count(run, photos):
    receipts = fakes.stage_run(run, fakes.refs(photos))
    store = open_store(run.root)
    with pytest.raises(fakes.CutOffError):
        # every part is in its table, the manifest is not written
        publish(fakes.FaultyStore(store, 5, "before"), run, receipts)
    assert store.list_files("images") != []
    assert select(run, photos).new.num_rows == 4


def test_an_empty_night_changes_nothing(run, photos):
    fakes.label(run, fakes.refs(photos))
    fakes.label(later(run, "run-b"), [])
    assert select(run, photos).unchanged == 4


def test_lost_parts_are_told(run, photos):
    manifest = fakes.label(run, fakes.refs(photos))
    store = open_store(run.root)
    path = manifest.parts_of("images")[0].path
    store.write_bytes(path, b"PAR1")
    with pytest.raises(CommitError, match=f"damaged: {path}"):
        known_images(store, run.source)
    store.move(path, "elsewhere")
    with pytest.raises(CommitError, match=f"missing: {path}"):
        known_images(store, run.source)
