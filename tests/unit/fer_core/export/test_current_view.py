"""The view `current`: which labels stand, in every engine that speaks its SQL."""

import os
import shutil
from pathlib import Path

import duckdb
import fsspec
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fer_core.errors import StoreError
from fer_core.export.current_view import CURRENT, relation, views
from fer_core.planning.incremental import load_processed_index, select_changed
from fer_core.storage.store import open_store
from fer_core.tables.schema import IMAGE_STATUSES, LABELED, LABELS
from fer_core.text import visible_lines
from tests.support import fakes, histories
from tests.support.earlier import as_an_earlier_release
from tests.support.histories import Night, Outcome, labeled

REPOSITORY = Path(__file__).resolve().parents[4]

LATER_TROUBLE = [
    Night("a", 0, {"/x": labeled(2), "/y": labeled(1), "/z": labeled(1)}),
    Night("b", 1, {"/x": Outcome("missing", False), "/y": Outcome("no_face", True), "/z": Outcome("unreadable", False)}),
]


def rows_of(nights):
    """`images` and `labels` of all nights."""
    images, labels = zip(*(histories.tables(night) for night in nights), strict=True)
    return pa.concat_tables(images), pa.concat_tables(labels)


@pytest.fixture(scope="module")
def database():
    """One for all pasts: to open it takes longer than to ask it."""
    with duckdb.connect() as opened:
        yield opened


def triples(table):
    return [(row["image_uri"], row["face_index"], row["run_id"]) for row in table.to_pylist()]


@settings(deadline=None, max_examples=50)
@example(LATER_TROUBLE)
@given(histories.nights())
def test_duckdb_says_what_plain_python_says(database, nights):
    images, labels = rows_of(nights)
    database.register("images", images)
    database.register("labels", labels)
    found = database.sql(f"{CURRENT} ORDER BY image_uri, face_index").to_arrow_table()
    assert found.column_names == labels.column_names
    assert triples(found) == histories.current(nights)


@settings(deadline=None, max_examples=25)
@example(LATER_TROUBLE)
@given(histories.nights())
def test_polars_says_the_same(nights):
    images, labels = (polars.from_arrow(table) for table in rows_of(nights))
    found = polars.SQLContext(images=images, labels=labels).execute(CURRENT).collect().sort("image_uri", "face_index")
    assert found.select("image_uri", "face_index", "run_id").rows() == histories.current(nights)


def test_an_image_that_could_not_be_looked_at_keeps_its_labels_and_any_answer_replaces_them():
    assert histories.current(LATER_TROUBLE) == [("/x", 0, "a"), ("/x", 1, "a"), ("/z", 0, "a")]


@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize("status", [status for status in IMAGE_STATUSES if status != LABELED])
def test_an_answer_is_what_the_next_night_leaves_alone(tmp_path, status, read):
    outcome = Outcome(status, read)
    nights = [Night("a", 0, {"/x": labeled(1)}), Night("b", 1, {"/x": outcome})]
    for night in nights:
        histories.commit(tmp_path, night)
    listing = fakes.inventory([histories.facts_of("/x", outcome).ref])
    known = load_processed_index(open_store(str(tmp_path)), "/photos", histories.config(tmp_path, nights[0]).pipeline_digest)
    left_alone = select_changed(listing, known).new.num_rows == 0
    with duckdb.connect() as database:
        database.execute(views(open_store(str(tmp_path))))
        assert (database.sql("FROM current").fetchall() == []) == left_alone


@pytest.mark.parametrize(
    "name", ["plain", "it's mine", "[2026] *?", "100%25", "x::y#z", "expression=fear", "run=x/run_date=y", "a\nb\x1b[2J{c,d}]"]
)
def test_the_views_of_a_folder(tmp_path, name):
    root = tmp_path / name
    nights = [Night("a", 0, {"/x": labeled(1), "/y": labeled(2)}), Night("b", 1, {"/x": labeled(3)})]
    histories.commit(root, nights[0])
    with duckdb.connect() as database:
        database.execute(views(open_store(str(root))))
        asked = "SELECT image_uri, face_index, run_id FROM current ORDER BY ALL"
        assert database.sql(asked).fetchall() == histories.current(nights[:1])
        histories.commit(root, nights[1])
        assert database.sql(asked).fetchall() == histories.current(nights)
        assert {"run", "run_date"} <= set(database.sql("FROM current").columns)


@pytest.mark.parametrize("name", ["plain", "run=x"])
@pytest.mark.parametrize(("earlier", "ids"), [(1, "ab"), (1, "ba"), (2, "ab")])
def test_the_views_of_what_several_releases_wrote(tmp_path, name, earlier, ids):
    """In either order of their files, and where no file has the column that came later."""
    root, store = tmp_path / name, open_store(str(tmp_path / name))
    nights = [Night(ids[0], 0, {"/x": labeled(1), "/y": labeled(2)}), Night(ids[1], 1, {"/x": labeled(3)})]
    for night in nights[:earlier]:
        histories.commit(root, night)
    as_an_earlier_release(root)
    for night in nights[earlier:]:
        histories.commit(root, night)
    with duckdb.connect() as database:
        database.execute(views(store))
        asked = "SELECT image_uri, face_index, run_id FROM current WHERE novelty IS NULL ORDER BY ALL"
        assert database.sql(asked).fetchall() == histories.current(nights)
        assert set(database.sql("FROM labels").columns) == {*LABELS.names, "run", "run_date"}
        assert database.sql(f"SELECT count(*) FROM {relation(store, 'labels')}").fetchall() == [(6,)]


def test_the_views_of_a_bucket(s3_root):
    histories.commit(s3_root, Night("a", 0, {"/x": labeled(1)}))
    with duckdb.connect() as database:
        database.register_filesystem(fsspec.filesystem("s3"))
        database.execute(views(open_store(s3_root)))
        assert database.sql("SELECT image_uri, face_index, run_id FROM current").fetchall() == [("/x", 0, "a")]


def test_a_golden_root_has_current_labels(tmp_path):
    shutil.copytree(REPOSITORY / "tests" / "golden" / "schema-1" / "root", tmp_path / "root")
    with duckdb.connect() as database:
        database.execute(views(open_store(str(tmp_path / "root"))))
        found = database.sql("SELECT run_id, count(*) FROM current GROUP BY ALL ORDER BY ALL").fetchall()
    files = list((tmp_path / "root" / "images").rglob("*.parquet"))
    images = [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]
    newest = {row["image_uri"]: row for row in sorted(images, key=lambda row: row["seen_at"])}
    assert sum(count for _, count in found) == sum(row["n_faces"] for row in newest.values())
    assert len(found) == 2


def test_only_committed_runs_can_be_asked_for(tmp_path):
    """As the documentation says it."""
    nights = [Night("a", 0, {"/x": labeled(1)}), Night("b", 1, {"/x": labeled(2)})]
    for night in nights:
        histories.commit(tmp_path, night)
    (tmp_path / "_meta/runs/b/manifest.json").unlink()
    document = (REPOSITORY / "docs" / "guides" / "queries.md").read_text("utf-8")
    committed = next(block for block in document.split("```") if "_meta/runs" in block).removeprefix("sql\n")
    with duckdb.connect() as database:
        database.execute(views(open_store(str(tmp_path))))
        assert database.sql("SELECT DISTINCT run_id FROM current").fetchall() == [("b",)]
        database.execute(committed.replace("LABELS", str(tmp_path)))
        assert database.sql("SELECT DISTINCT run_id FROM current").fetchall() == [("a",)]


def test_the_documentation_shows_the_view_as_it_is():
    assert CURRENT in (REPOSITORY / "docs" / "guides" / "queries.md").read_text("utf-8")


def test_the_question_in_the_readme_can_be_asked(tmp_path):
    histories.commit(tmp_path, Night("a", 0, {"/x": labeled(1), "/y": labeled(2)}))
    question = next(block for block in (REPOSITORY / "README.md").read_text("utf-8").split("```") if block.startswith("sql\n"))
    with duckdb.connect() as database:
        database.execute(views(open_store(str(tmp_path))))
        assert database.sql(question.removeprefix("sql\n")).fetchall() == [("neutral", 3, 0.65)]


@pytest.fixture(scope="module")
def three_faces(tmp_path_factory):
    """A root, to be moved from name to name."""
    root = tmp_path_factory.mktemp("named") / "root"
    return root, histories.commit(root, Night("a", 0, {"/x": labeled(1), "/y": labeled(2)})).run_date


LETTERS = st.one_of(
    st.sampled_from("*?[]{}\\'\"=%$;#~!^- \n\t\x1b\u202e"), st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
)


@settings(deadline=None, max_examples=50)  # the machine may be busy
@given(st.text(LETTERS, min_size=1, max_size=20).filter(lambda name: name not in {".", ".."} and len(name.encode()) < 250))
@example("a\\b*c[d]?=e'")
@example("expression=fear")
@example("run_date=2020-01-01\\run=x")
def test_duckdb_reads_a_root_of_any_name_that_a_file_system_takes(three_faces, name):
    home, day = three_faces
    root = home.parent / name / "root"
    root.parent.mkdir(exist_ok=True)
    home.rename(root)
    try:
        text = views(open_store(str(root)))
        with duckdb.connect() as database:
            database.execute(text)
            found = database.sql(
                "SELECT image_uri, face_index, run_id, expression, run, run_date::VARCHAR FROM current ORDER BY ALL"
            ).fetchall()
            columns = database.sql("FROM labels").columns
    finally:
        root.rename(home)
        root.parent.rmdir()  # DuckDB lists folders beside a name with `*`, and fails at one whose name begins with a backslash
    assert [row[:3] for row in found] == [("/x", 0, "a"), ("/y", 0, "a"), ("/y", 1, "a")]
    assert {row[3:] for row in found} == {("neutral", "a", day)}
    assert columns == [*LABELS.names, "run", "run_date"]
    assert visible_lines(text) == text


def test_a_folder_with_a_backslash_is_read_as_it_was_when_asked(tmp_path):
    root = tmp_path / "a\\b"
    with duckdb.connect() as database, pytest.raises(duckdb.IOException, match="No files found"):
        database.execute(views(open_store(str(root))))
    histories.commit(root, Night("a", 0, {"/x": labeled(1)}))
    (tmp_path / "a_b").symlink_to(root)
    with duckdb.connect() as database:
        database.execute(views(open_store(str(root))))
        assert len(database.sql("FROM current").fetchall()) == 1


def test_duckdb_cannot_name_bytes_that_are_no_text(tmp_path):
    with pytest.raises(StoreError, match="not UTF-8"):
        views(open_store(str(tmp_path / os.fsdecode(b"\xff"))))
