import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.commit.manifest import Manifest, Part
from fer_core.commit.publish import publish
from fer_core.errors import CommitError
from fer_core.planning.incremental import KNOWN, load_processed_index, select_changed
from fer_core.run.configuration import Decoding
from fer_core.run.part_name import PartName
from fer_core.run.receipts import PartReceipt
from fer_core.storage.paths import manifest_file, published_file
from fer_core.storage.spill import ROW_LIMITS, RowLimits
from fer_core.storage.store import open_store
from fer_core.tables.parquet_writer import write_part
from fer_core.tables.schema import CANDIDATES, IMAGE_STATUSES, IMAGES, INVENTORY
from tests.support import fakes

URIS = st.sampled_from(["/a", "/b", "/c", "/d"])
SIZES = st.sampled_from([None, 1, 2])
TAGS = st.sampled_from([None, "x", "y"])
TIMES = st.sampled_from([None, 10, 20])
LISTED = st.dictionaries(URIS, st.tuples(SIZES, TAGS, TIMES))
EARLIER = st.sampled_from([None, "images/x", "images/y"])
ANSWERED = st.dictionaries(URIS, st.tuples(SIZES, TAGS, TIMES, st.booleans(), st.booleans(), EARLIER))


def moment(microseconds):
    return None if microseconds is None else datetime.fromtimestamp(microseconds, UTC)


def known_table(rows):
    columns = ["bytes", "etag", "modified_at", "final", "same_source", "earlier_part"]
    records = [
        {"image_uri": uri, **dict(zip(columns, row, strict=True)), "modified_at": moment(row[2])} for uri, row in sorted(rows.items())
    ]
    return pa.Table.from_pylist(records, KNOWN)


def listing(rows):
    records = [{"image_uri": uri, "bytes": rows[uri][0], "etag": rows[uri][1], "modified_at": moment(rows[uri][2])} for uri in sorted(rows)]
    return pa.Table.from_pylist(records, INVENTORY)


def needs_reading(listed, answered):
    """The rule, one image at a time."""
    if answered is None:
        return True
    size, tag, time = listed
    old_size, old_tag, old_time, final, _, _ = answered
    if not final or size is None or size != old_size:
        return True
    if tag is not None and old_tag is not None:
        return tag != old_tag
    return time is None or time != old_time


@settings(deadline=None, max_examples=120)
@given(LISTED, ANSWERED, st.sampled_from([1, 50_000]))
def test_the_selection_follows_the_rule(listed, answered, rows_at_once):
    selection = select_changed(listing(listed), known_table(answered), limits=RowLimits(rows_at_once, 1))
    expected = [uri for uri in sorted(listed) if needs_reading(listed[uri], answered.get(uri))]
    assert selection.new["image_uri"].to_pylist() == expected
    assert selection.new.schema.equals(CANDIDATES)
    assert selection.new["earlier_part"].to_pylist() == [answered[uri][5] if uri in answered else None for uri in expected]
    assert selection.unchanged == len(listed) - len(expected)
    assert selection.deleted == sum(1 for uri, row in answered.items() if row[4] and uri not in listed)


def test_tables_in_many_chunks():
    rows = dict.fromkeys([f"/{number}" for number in range(6)], (1, None, 10))
    inventory = pa.concat_tables([listing(rows).slice(start, 2) for start in (0, 2, 4)])
    known = known_table(dict.fromkeys(list(rows)[:5], (1, None, 10, True, True, "images/x")))
    selection = select_changed(inventory, pa.concat_tables([known.slice(0, 1), known.slice(1)]))
    assert (selection.new["image_uri"].to_pylist(), selection.unchanged) == (["/5"], 5)


def test_nothing_known_and_nothing_listed():
    assert select_changed(listing({}), KNOWN.empty_table()).new.num_rows == 0
    assert select_changed(listing({"/a": (1, None, 1)}), KNOWN.empty_table()).new.num_rows == 1


@pytest.fixture
def photos(tmp_path):
    return fakes.write_pictures(tmp_path / "photos", [1, 0, 2, 1])


@pytest.fixture
def run(tmp_path, photos):
    return fakes.config(tmp_path / "labels", source=str(photos))


def later(run, run_id, minutes=1, **changes):
    return replace(run, run_id=run_id, started_us=run.started_us + minutes * 60_000_000, **changes)


def known_of(run, limits=ROW_LIMITS):
    return load_processed_index(open_store(run.root), run.source, run.pipeline_digest, limits)


def select(run, photos):
    return select_changed(fakes.inventory(fakes.refs(photos)), known_of(run))


def test_the_second_night_reads_what_changed(run, photos):
    assert known_of(run).num_rows == 0
    fakes.label(run, fakes.refs(photos))
    assert (select(run, photos).new.num_rows, select(run, photos).unchanged) == (0, 4)

    (photos / "image-001.png").write_bytes(fakes.picture(3, seed=9) + b"longer")
    (photos / "image-002.png").unlink()
    (photos / "new.png").write_bytes(fakes.picture(1))
    found = select(run, photos)
    assert [uri.rsplit("/", 1)[1] for uri in found.new["image_uri"].to_pylist()] == ["image-001.png", "new.png"]
    assert (found.unchanged, found.deleted) == (2, 1)


def test_answers_of_many_nights_on_disk_are_those_in_memory(run, photos):
    for night in range(4):
        (photos / f"new-{night}.png").write_bytes(fakes.picture(1, seed=night))
        fakes.label(later(run, f"night-{night}", night), fakes.refs(photos)[night:])
    on_disk = known_of(run, RowLimits(2, 1))
    assert on_disk.num_rows == 8
    assert on_disk.to_pylist() == known_of(run).to_pylist()


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
    known = known_of(run)
    rows = {row["image_uri"].rsplit("/", 1)[1]: row for row in known.to_pylist()}
    assert len(known) == len(rows) == 4
    assert not rows["image-000.png"]["final"]
    assert {row["earlier_part"].split("/")[2] for row in rows.values()} == {"run=z-first"}, "what was seen before it went still holds"
    assert [uri.rsplit("/", 1)[1] for uri in select(run, photos).new["image_uri"].to_pylist()] == ["image-000.png"]


def commit_rows(run, rows):
    """A run whose images part is just that."""
    table = pa.Table.from_pylist([{"bytes": 1, **row, "run_id": run.run_id} for row in rows], IMAGES)
    data = write_part(table, {})
    part = PartReceipt("images", PartName(0), len(rows), len(data), hashlib.sha256(data).hexdigest())
    store = open_store(run.root)
    store.write_bytes(published_file(run, part), data)
    counts = {status: sum(row["status"] == status for row in rows) for status in IMAGE_STATUSES}
    parts = (Part("images", published_file(run, part), part.rows, part.size, part.sha256),)
    times = ("2026-01-01T00:00:00+00:00",) * 2
    start = (1, run.run_id, run.run_date, run.source, "", "fake-1", "fake", "0" * 64, run.pipeline_digest, "", run.to_json())
    store.write_bytes(manifest_file(run.run_id), Manifest(*start, len(rows), 0, 0, counts, 0, {}, parts, *times, {}).to_bytes())


@pytest.mark.parametrize("digest", ["ff", None])
@pytest.mark.parametrize("pipeline", ["ours", "other", None])
@pytest.mark.parametrize("status", IMAGE_STATUSES)
def test_which_answers_are_final_and_which_can_be_taken_over(run, status, pipeline, digest):
    said = run.pipeline_digest if pipeline == "ours" else pipeline
    commit_rows(run, [{"image_uri": "/a", "status": status, "pipeline_digest": said, "image_sha256": digest}])
    (row,) = known_of(run).to_pylist()
    no_byte_came = status == "missing" or (status == "unreadable" and digest is None)
    assert row["final"] == (pipeline == "ours" and not no_byte_came)
    assert row["failed"] == (status not in ("labeled", "no_face"))
    assert (row["earlier_part"] is not None) == (pipeline == "ours" and digest is not None and status in ("labeled", "no_face"))


REFUSED = [
    ("labeled", "a", 10),
    ("no_face", "b", 10),
    ("crashed", "c", 10),
    ("unreadable", "d", 10),
    ("unsupported", "e", 10),
    ("too_large", "f", 10),
    ("too_large", "g", 2000),
    ("too_large", "h", 9000),
]
"""By bytes, of which 1,000 were allowed, or by pixels."""


@pytest.mark.parametrize(
    ("now", "again"),
    [
        (Decoding("1", 1000, 50), ""),
        (Decoding("2", 1000, 50), "de"),
        (Decoding("1 raw", 1000, 50), "de"),
        (Decoding("1", 1000, 51), "f"),
        (Decoding("1", 5000, 50), "g"),
        (Decoding("1", 10_000, 50), "gh"),
        (Decoding("1", 10, 10), ""),
        (Decoding("3 jxl raw", 10_000, 60), "defgh"),
    ],
)
def test_what_can_be_read_now_is_tried_again(run, now, again):
    then = replace(run, max_bytes=1000, max_pixels=50)
    rows = [{"image_uri": f"/{name}", "status": status, "bytes": size, "image_sha256": "0" * 64} for status, name, size in REFUSED]
    commit_rows(then, [{**row, "pipeline_digest": run.pipeline_digest} for row in rows])
    known = load_processed_index(open_store(run.root), run.source, run.pipeline_digest, decoding=now)
    assert "".join(row["image_uri"][1] for row in known.to_pylist() if not row["final"]) == again


def test_the_latest_answer_of_this_pipeline_can_be_taken_over(run):
    def row(uri, pipeline, status="labeled"):
        return {"image_uri": uri, "status": status, "pipeline_digest": pipeline, "image_sha256": "ff"}

    ours, times = run.pipeline_digest, iter(range(1, 5))
    commit_rows(later(run, "run-d", next(times)), [row("/a", ours), row("/b", ours), row("/c", "other")])
    commit_rows(later(run, "run-c", next(times)), [row("/a", ours)])
    commit_rows(later(run, "run-b", next(times)), [row("/a", "other"), row("/b", ours, "missing")])
    found = {row["image_uri"]: row for row in known_of(run).to_pylist()}
    assert {uri: row["earlier_part"] and row["earlier_part"].split("/")[2] for uri, row in found.items()} == {
        "/a": "run=run-c",
        "/b": "run=run-d",
        "/c": None,
    }
    assert not any(row["final"] for row in found.values())


def test_deletions_are_a_matter_of_one_source(run, photos, tmp_path):
    others = fakes.write_pictures(tmp_path / "others", [1, 1])
    fakes.label(run, fakes.refs(photos))
    fakes.label(later(run, "run-b", source=str(others)), fakes.refs(others))
    assert select(run, photos).deleted == 0
    # an image that a run of another source saw last is still this source's
    fakes.label(later(run, "run-c", 2, source="list.txt"), fakes.refs(photos)[:1])
    (photos / "image-000.png").unlink()
    assert select(run, photos).deleted == 1


def test_what_lies_behind_a_folder_that_was_left_out_is_not_deleted(run, photos, tmp_path):
    """Nor is what such a link was listed as before."""
    fakes.label(run, fakes.refs(photos))
    here, known = fakes.inventory([]), known_of(run)
    assert select_changed(here, known).deleted == 4
    assert select_changed(here, known, (str(photos),)).deleted == 0
    assert select_changed(here, known, (str(photos / "image-001.png"),)).deleted == 3
    assert select_changed(here, known, (str(photos / "image-00"), f"{photos}0", "/a", "/z")).deleted == 4


def test_only_committed_runs_count(run, photos):
    receipts = fakes.stage_run(run, fakes.refs(photos))
    store = open_store(run.root)
    with pytest.raises(fakes.CutOffError):
        # every part is in its table, the manifest is not written
        publish(fakes.FaultyStore(store, 5, "before"), run, receipts, largest_part=0)
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
        known_of(run)
    store.move(path, "elsewhere")
    with pytest.raises(CommitError, match=f"missing: {path}"):
        known_of(run)
