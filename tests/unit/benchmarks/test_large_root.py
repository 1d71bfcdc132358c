"""The drawn root is one that ferflow itself finds sound, the same each time, and questions over it are measured."""

import duckdb
import pytest

from benchmarks.common.large_root import RootSize, make_root
from benchmarks.scalability import queries
from fer_core.commit.reader import committed_manifests
from fer_core.commit.verify import verify
from fer_core.query.read_labels import read_labels
from fer_core.storage.store import open_store
from tests.support import fakes

SIZE = RootSize(faces=400, nights=4)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn") / "labels"
    make_root(root, SIZE)
    return root


def test_it_is_sound(root):
    report = verify(open_store(str(root)))
    assert (report.problems, report.runs) == ((), 5)
    assert sum(manifest.faces for manifest in committed_manifests(open_store(str(root)))) == pytest.approx(SIZE.faces, rel=0.1)


def test_rows_are_as_the_pipeline_writes_them(root):
    labels = read_labels(str(root), current=False)
    with duckdb.connect() as database:
        database.register("labels", labels)
        wrong = """SELECT count(*) FROM labels
            WHERE abs(p_neutral + p_happiness + p_surprise + p_sadness + p_anger + p_disgust + p_fear + p_contempt - 1) > 1e-6
            OR confidence <> greatest(p_neutral, p_happiness, p_surprise, p_sadness, p_anger, p_disgust, p_fear, p_contempt)"""
        assert database.sql(wrong).fetchall() == [(0,)]
        assert database.sql("SELECT count(*) - count(DISTINCT (run_id, image_uri, face_index)) FROM labels").fetchall() == [(0,)]
    assert labels.num_rows > read_labels(str(root)).num_rows


def test_the_same_sizes_give_the_same_rows(root, tmp_path):
    make_root(tmp_path / "labels", SIZE)
    for table in ("labels", "images"):
        first, second = (read_labels(str(place), table=table, current=False) for place in (root, tmp_path / "labels"))
        assert first.equals(second)
    assert len(fakes.tree(tmp_path / "labels")) == len(fakes.tree(root))


def test_a_question_is_measured(root, tmp_path):
    words = queries.commands(root, tmp_path)
    assert set(queries.SQL) < set(words)
    row = {"question": "count", **queries.measured(words["count"])}
    assert row["cpu_seconds"] > 0
    assert queries.table([row]).splitlines()[-1].startswith("| count | ")
    with pytest.raises(SystemExit, match="failed with exit code"):
        queries.measured([*queries.FERFLOW, "query", str(tmp_path), "FROM labels"])
