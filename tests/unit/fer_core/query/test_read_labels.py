"""Rows of committed runs, as plain reads of their files give them."""

from dataclasses import replace
from pathlib import Path

import polars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import fer_core
from fer_core.commit.publish import committed_runs
from fer_core.errors import CommitError, StoreError, UsageError
from fer_core.export.current_file import export_current
from fer_core.storage.store import open_store
from fer_core.tables.schema import FACES, IMAGES, LABELS
from tests.support import fakes

DAY_US = 86_400_000_000


def two_nights(root: str, folder: Path) -> None:
    """The second one, of another model, sees one image fewer and one without faces any more; a third is not committed."""
    photos = fakes.write_pictures(folder / "photos", [1, 2, 3, 0])
    first = fakes.keeping_crops(fakes.config(root))
    fakes.label(first, fakes.refs(photos), shard_size=2)
    (photos / "image-001.png").write_bytes(fakes.picture(0))
    later = {"run_date": "2026-01-02", "started_us": fakes.STARTED_US + DAY_US, "model_digest": "1" * 64, "model_name": "other"}
    fakes.label(replace(first, run_id="run-b", **later), fakes.refs(photos)[1:])
    fakes.stage_run(replace(first, run_id="run-c"), fakes.refs(photos))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("root")
    two_nights(str(folder / "labels"), folder)
    return str(folder / "labels")


def keys(table: pa.Table) -> list[tuple[str, int, str]]:
    return [(row["image_uri"][-7:-4], row["face_index"], row["run_id"]) for row in table.to_pylist()]


def test_the_current_labels_are_those_of_the_export(root, tmp_path):
    export_current(open_store(root), open_store(str(tmp_path)))
    exported = pq.read_table(tmp_path / "current.parquet").replace_schema_metadata(None)
    for verify in (False, True):
        found = fer_core.read_labels(root, verify=verify)
        assert found.schema.equals(LABELS, check_metadata=True)
        assert found.equals(exported)
    assert keys(found) == [("000", 0, "run-a"), ("002", 0, "run-b"), ("002", 1, "run-b"), ("002", 2, "run-b")]


def test_all_rows_of_committed_runs(root):
    found = fer_core.read_labels(root, current=False)
    assert keys(found) == [("000", 0, "run-a"), ("001", 0, "run-a"), ("001", 1, "run-a")] + [
        ("002", index, run) for index in range(3) for run in ("run-a", "run-b")
    ]


def test_the_other_tables(root):
    images, faces = (fer_core.read_labels(root, table=table) for table in ("images", "faces"))
    assert images.schema.equals(IMAGES, check_metadata=True)
    assert images["run_id"].to_pylist() == ["run-a", "run-b", "run-b", "run-b"]
    assert images["status"].to_pylist() == ["labeled", "no_face", "labeled", "no_face"]
    assert faces.schema.equals(FACES, check_metadata=True)
    assert keys(faces) == keys(fer_core.read_labels(root))
    runs = fer_core.read_labels(root, table="runs", columns=["run_id", "listed", "labeled", "no_face", "faces"])
    assert runs.to_pydict() == {"run_id": ["run-a", "run-b"], "listed": [4, 3], "labeled": [3, 1], "no_face": [1, 2], "faces": [6, 3]}
    models = fer_core.read_labels(root, table="models", where=pc.field("model_name") == "other")
    assert models.select(["model_digest", "runs", "faces"]).to_pylist() == [{"model_digest": "1" * 64, "runs": 1, "faces": 3}]
    assert fer_core.read_labels(root, table="reviews").num_rows == 0


def test_columns_and_conditions(root):
    where = (pc.field("face_index") > 0) & (pc.field("run_date") == pa.scalar("2026-01-02").cast(pa.date32()))
    found = fer_core.read_labels(root, columns=["confidence", "run_date"], where=where)
    assert found.column_names == ["confidence", "run_date"]
    assert [str(day) for day in found["run_date"].to_pylist()] == ["2026-01-02"] * 2
    assert found.to_pandas().shape == polars.from_arrow(found).shape == (2, 2)


def test_a_column_that_earlier_releases_did_not_write_is_null():
    golden = Path(__file__).resolve().parents[3] / "golden" / "schema-1"
    roots = [folder for folder in (golden, *golden.iterdir()) if (folder / "_meta").is_dir()]
    assert roots
    found = fer_core.read_labels(str(roots[0]), current=False, columns=["novelty"])
    assert found["novelty"].null_count == found.num_rows > 0


def test_in_object_stores(any_root, tmp_path):
    two_nights(any_root, tmp_path)
    assert len(committed_runs(open_store(any_root))) == 2
    for verify in (False, True):
        found = fer_core.read_labels(any_root, where=pc.field("face_index") == 0, verify=verify)
        assert keys(found) == [("000", 0, "run-a"), ("002", 0, "run-b")]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"table": "people"}, "no table 'people'"),
        ({"columns": ["age"]}, "no columns 'age'"),
        ({"where": pc.field("age") > 3}, "condition does not fit"),
        ({"where": pc.field("confidence") > "much"}, "condition does not fit"),
        ({"table": "runs", "where": pc.field("age") > 3}, "condition does not fit"),
        ({"table": "runs", "columns": ["age"]}, "no columns 'age'"),
    ],
)
def test_wrong_use_is_one_line(root, options, told):
    with pytest.raises(UsageError, match=told) as caught:
        fer_core.read_labels(root, **options)
    assert "\n" not in str(caught.value)


def test_damage_is_one_line(tmp_path):
    with pytest.raises(CommitError, match="no run has been committed"):
        fer_core.read_labels(str(tmp_path / "nothing"))
    with pytest.raises(StoreError, match="not supported"):
        fer_core.read_labels("ftp://somewhere/labels")
    two_nights(str(tmp_path / "labels"), tmp_path)
    part = next((tmp_path / "labels" / "labels").rglob("*.parquet"))
    data = part.read_bytes()
    part.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CommitError, match="damaged"):
        fer_core.read_labels(str(tmp_path / "labels"), verify=True)
    part.write_bytes(data[: len(data) // 2])
    with pytest.raises(CommitError, match="cannot be read"):
        fer_core.read_labels(str(tmp_path / "labels"))
    part.unlink()
    with pytest.raises(CommitError, match="cannot be read") as caught:
        fer_core.read_labels(str(tmp_path / "labels"))
    assert "\n" not in str(caught.value)
