"""Queries over committed runs: what they see, and that they reach nothing else."""

import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from fer_core.errors import CommitError, QueryError, UsageError
from fer_core.query.session import VIEWS, QueryLimits, QuerySession, open_session, rows
from fer_core.storage.store import open_store
from tests.support import fakes


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("query")
    fakes.label(fakes.config(folder / "labels"), fakes.refs(fakes.write_pictures(folder / "photos", [1, 2, 3, 0])))
    return folder / "labels"


@pytest.fixture
def session(root):
    with open_session(open_store(str(root)), QueryLimits("200MB", 1)) as opened:
        yield opened


def answer(session: QuerySession, sql: str) -> list[dict[str, object]]:
    reader = session.run(sql)
    return pa.Table.from_batches(rows(reader), reader.schema).to_pylist()


def test_the_views(session):
    assert sorted(row["name"] for row in answer(session, "SHOW TABLES")) == sorted(VIEWS)
    counts = {view: answer(session, f"SELECT count(*) AS n FROM {view}")[0]["n"] for view in VIEWS}
    assert counts == {"labels": 6, "images": 4, "current": 6, "runs": 1, "reviews": 0, "models": 1}
    assert {"run_date", "p_fear", "busy_seconds", "verdict"} <= set(session.columns())


def test_questions_over_several_views(session):
    sql = """SELECT strftime(run_date, '%Y-%m') AS month, count(*) AS faces, avg((face_size_px > 20)::INT) AS large
             FROM current JOIN runs USING (run_id, run_date) WHERE labeled_at >= TIMESTAMP '2025-12-31' GROUP BY ALL"""
    assert answer(session, sql) == [{"month": "2026-01", "faces": 6, "large": 1.0}]
    assert len(answer(session, "SUMMARIZE labels")) == len(answer(session, "DESCRIBE labels")) > 40
    assert answer(session, "EXPLAIN FROM labels")


@pytest.mark.parametrize("place", ["inside", "outside"])
@pytest.mark.parametrize(
    "sql",
    [
        "COPY labels TO '{file}'",
        "COPY (FROM current) TO '{file}' (FORMAT csv)",
        "EXPORT DATABASE '{file}'",
        "ATTACH '{file}'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "INSTALL '{file}'",
        "SET memory_limit = '100GB'",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "PRAGMA enable_profiling",
        "CREATE TABLE mine AS FROM labels",
        "DROP VIEW labels",
        "EXPLAIN ANALYZE COPY labels TO '{file}'",
        "FROM read_text('{read}')",
        "FROM read_blob('{read}')",
        "FROM read_csv('{read}')",
        "FROM read_json('{read}')",
        "FROM read_parquet('{read}')",
        "FROM parquet_metadata('{read}')",
        "FROM glob('{read}')",
        "FROM '{read}'",
        "FROM sniff_csv('{read}')",
        "FROM read_text('https://example.com/')",
        "FROM 's3://bucket/key.parquet'",
        "FROM query('COPY labels TO ''{file}''')",
        "FROM labels; COPY labels TO '{file}'",
    ],
)
def test_queries_reach_no_file(session, root, tmp_path, place, sql):
    before = fakes.tree(root.parent)
    folder = root if place == "inside" else tmp_path
    read = next(root.glob("labels/*/*/*.parquet")) if place == "inside" else "/etc/passwd"
    with pytest.raises((QueryError, UsageError)) as caught:
        answer(session, sql.format(file=folder / "new", read=read))
    assert "\n" not in str(caught.value)
    assert fakes.tree(root.parent) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "sql",
    ["COPY labels TO '{file}'", "ATTACH '{file}'", "EXPORT DATABASE '{file}'", "INSTALL httpfs", "SET enable_external_access = true"],
)
def test_duckdb_itself_is_locked_whatever_statements_are_let_through(session, tmp_path, sql):
    with pytest.raises(duckdb.Error):
        session._database.execute(sql.format(file=tmp_path / "new"))
    assert list(tmp_path.iterdir()) == []


def test_variables_of_the_process_are_no_tables(session):
    mine = pa.table({"secret": [1]})
    with pytest.raises(QueryError, match="mine"):
        answer(session, "FROM mine")
    assert mine.num_rows


def test_a_query_that_needs_more_memory_ends_in_one_line_or_spills(session):
    sql = "SELECT count(DISTINCT hash(i)) AS n FROM range(1_000_000) t(i)"
    assert answer(session, sql) == [{"n": 1_000_000}]
    with pytest.raises(QueryError, match=r"[Mm]emory"):
        answer(session, "SELECT length(list(repeat('x', 1000) || i)::VARCHAR) FROM range(1_000_000) t(i)")


@pytest.mark.parametrize(
    ("sql", "error", "told"),
    [
        ("SELEC 1", QueryError, "syntax error"),
        ("SELECT age FROM labels", QueryError, "age"),
        ("SELECT 1 / x FROM labels", QueryError, "x"),
        ("SELECT 'a'::INT", QueryError, "Could not convert"),
        ("", UsageError, "one query is needed, not 0"),
        ("SELECT 1; SELECT 2", UsageError, "one query is needed, not 2"),
        ("DELETE FROM labels", UsageError, "not DELETE"),
    ],
)
def test_wrong_queries_are_one_line(session, sql, error, told):
    with pytest.raises(error, match=told) as caught:
        answer(session, sql)
    assert "\n" not in str(caught.value)


def test_a_part_that_is_gone_is_one_line(tmp_path):
    fakes.label(fakes.config(tmp_path / "labels"), fakes.refs(fakes.write_pictures(tmp_path / "photos", [1])))
    with open_session(open_store(str(tmp_path / "labels"))) as session:
        next((tmp_path / "labels" / "labels").rglob("*.parquet")).unlink()
        with pytest.raises(QueryError) as caught:
            answer(session, "FROM labels")
    assert "\n" not in str(caught.value)


def test_a_root_without_runs(tmp_path):
    with pytest.raises(CommitError, match="no run has been committed"), open_session(open_store(str(tmp_path))):
        pass


@pytest.mark.parametrize("server", ["s3", "swift"])
def test_in_s3(server, request, tmp_path):
    s3_root = request.getfixturevalue(f"{server}_root")
    fakes.label(fakes.config(s3_root), fakes.refs(fakes.write_pictures(tmp_path / "photos", [1, 2])))
    with open_session(open_store(s3_root)) as session:
        assert (
            answer(session, "SELECT count(*) AS n, sum(n_faces) AS faces FROM current JOIN images USING (image_uri, run_id)")[0]["n"] == 3
        )
        counts = [answer(session, f"SELECT count(*) AS n FROM {view}")[0]["n"] for view in VIEWS]
        assert dict(zip(VIEWS, counts, strict=True)) == {"labels": 3, "images": 2, "current": 3, "runs": 1, "reviews": 0, "models": 1}
        with pytest.raises(QueryError):
            answer(session, f"FROM read_parquet('{s3_root}/labels/*/*/*.parquet')")


PAGE = (Path(__file__).resolve().parents[4] / "docs" / "guides" / "queries.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sql\n(--.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
QUESTIONS = [sql.strip() for block in BLOCKS for sql in block.split(";") if sql.strip()]


@pytest.mark.parametrize("sql", QUESTIONS, ids=[sql.partition("\n")[0].removeprefix("-- ") for sql in QUESTIONS])
def test_the_questions_of_the_page_have_answers(session, sql):
    answer(session, sql)
