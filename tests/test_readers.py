"""What other programs read. Every engine must see the same rows in what a real commit wrote."""

from dataclasses import replace
from datetime import date

import duckdb
import pandas
import polars
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from fer_core.schema import FACES, IMAGES, LABELS
from tests import fakes

FACES_IN = [1, 0, 2, 3, 0, 1, 2, 1]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two days: eight images with ten faces on the first, three of them again on the second."""
    folder = tmp_path_factory.mktemp("readers")
    photos = fakes.refs(fakes.write_pictures(folder / "photos", FACES_IN))
    first = fakes.keeping_crops(fakes.config(folder / "labels"))
    fakes.label(first, photos)
    fakes.label(replace(first, run_id="run-b", run_date="2026-01-02", started_us=first.started_us + 86_400_000_000), photos[:3], 2)
    return folder / "labels"


def expected(root):
    """Straight from the files: (uri, face index, expression, p_happiness, status) of the second day."""
    labels = [row for file in sorted((root / "labels").rglob("run=run-b/*.parquet")) for row in pq.ParquetFile(file).read().to_pylist()]
    images = {row["image_uri"]: row for file in (root / "images").rglob("run=run-b/*") for row in pq.ParquetFile(file).read().to_pylist()}
    rows = [(r["image_uri"], r["face_index"], r["expression"], r["p_happiness"], images[r["image_uri"]]["status"]) for r in labels]
    assert len(rows) == 3
    return rows


@pytest.mark.parametrize("pattern", ["{root}/{table}/**/*.parquet", "{root}/{table}/*/*/*.parquet"])
def test_duckdb(root, pattern):
    labels, images = (pattern.format(root=root, table=table) for table in ("labels", "images"))
    rows = duckdb.sql(
        f"""select image_uri, face_index, expression, p_happiness, i.status
            from read_parquet('{labels}', hive_partitioning = true) l
            join read_parquet('{images}', hive_partitioning = true) i using (image_uri, run_id, run_date)
            where l.run_date = date '2026-01-02' order by 1, 2"""
    ).fetchall()
    assert [row[:3] + row[4:] for row in rows] == [row[:3] + row[4:] for row in expected(root)]
    assert [row[3] for row in rows] == pytest.approx([row[3] for row in expected(root)])
    assert duckdb.sql(f"select count(*), count(distinct run_id), sum(n_faces) from '{images}'").fetchall() == [(11, 2, 13)]
    likely = duckdb.sql(f"select count(*) from '{labels}' where greatest(p_neutral, p_happiness, p_fear) > 0.6").fetchall()
    assert likely == [(count_likely(root),)]


def count_likely(root):
    rows = [row for file in (root / "labels").rglob("*.parquet") for row in pq.ParquetFile(file).read().to_pylist()]
    assert len(rows) == 13
    return sum(max(row["p_neutral"], row["p_happiness"], row["p_fear"]) > 0.6 for row in rows)


@pytest.mark.parametrize("pattern", ["{root}/{table}", "{root}/{table}/**/*.parquet"])
def test_polars(root, pattern):
    labels, images = (polars.scan_parquet(pattern.format(root=root, table=t), hive_partitioning=True) for t in ("labels", "images"))
    joined = labels.filter(polars.col("run_date") == date(2026, 1, 2)).join(images, on=["image_uri", "run_id"])
    rows = joined.sort("image_uri", "face_index").select("image_uri", "face_index", "expression", "p_happiness", "status").collect().rows()
    assert [row[:3] + row[4:] for row in rows] == [row[:3] + row[4:] for row in expected(root)]
    likely = labels.filter(polars.max_horizontal("p_neutral", "p_happiness", "p_fear") > 0.6).collect()
    assert likely.height == count_likely(root)


def test_pandas(root):
    labels, images = pandas.read_parquet(root / "labels"), pandas.read_parquet(root / "images")
    assert (len(labels), len(images)) == (13, 11)
    day = labels[labels["run_date"].astype(str) == "2026-01-02"]
    joined = day.merge(images, on=["image_uri", "run_id"]).sort_values(["image_uri", "face_index"])
    rows = list(joined[["image_uri", "face_index", "expression", "p_happiness", "status"]].itertuples(index=False, name=None))
    assert [row[:3] + row[4:] for row in rows] == [row[:3] + row[4:] for row in expected(root)]
    assert int((labels[["p_neutral", "p_happiness", "p_fear"]].max(axis=1) > 0.6).sum()) == count_likely(root)
    assert len(pandas.read_parquet(root / "labels", filters=[("run_date", "==", "2026-01-02")])) == 3
    assert str(labels["labeled_at"].dtype) == "datetime64[us, UTC]"


def test_pyarrow(root):
    labels, images = (ds.dataset(root / table, partitioning="hive") for table in ("labels", "images"))
    day = labels.to_table(filter=pc.field("run_date") == "2026-01-02")
    joined = day.join(images.to_table(columns=["image_uri", "run_id", "status"]), ["image_uri", "run_id"])
    joined = joined.sort_by([("image_uri", "ascending"), ("face_index", "ascending")])
    rows = [tuple(row.values()) for row in joined.select(["image_uri", "face_index", "expression", "p_happiness", "status"]).to_pylist()]
    assert rows == expected(root)
    likely = pc.max_element_wise(*(pc.field(name) for name in ("p_neutral", "p_happiness", "p_fear"))) > 0.6
    assert labels.count_rows(filter=likely) == count_likely(root)


def test_each_part_has_the_schema_of_its_table(root):
    seen = 0
    for table, schema in (("labels", LABELS), ("images", IMAGES), ("faces", FACES)):
        for file in (root / table).rglob("*.parquet"):
            assert pq.read_schema(file).remove_metadata().equals(schema, check_metadata=True)
            seen += 1
    assert seen == 15


def test_only_parquet_lies_under_a_table(root):
    files = [file for table in ("labels", "images", "faces") for file in (root / table).rglob("*") if file.is_file()]
    assert files
    assert {file.suffix for file in files} == {".parquet"}


def test_the_run_stands_in_the_files_and_its_day_in_the_path(root):
    for file in (root / "labels").rglob("*.parquet"):
        names = pq.read_schema(file).names
        assert "run_id" in names
        assert not {"run_date", "run"} & set(names)
        assert [part.split("=")[0] for part in file.relative_to(root / "labels").parts[:-1]] == ["run_date", "run"]
        assert set(pq.ParquetFile(file).read(["run_id"])["run_id"].to_pylist()) <= {file.parent.name.removeprefix("run=")}


def test_kept_crops_are_pictures_of_their_faces(root):
    crops = pandas.read_parquet(root / "faces").merge(
        pandas.read_parquet(root / "labels"), on=["run_id", "face_id"], how="outer", indicator=True
    )
    assert set(crops["_merge"]) == {"both"}
    assert len(crops) == 13
    import cv2
    import numpy as np

    shapes = {cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).shape for data in crops["crop_png"]}
    assert shapes == {(112, 112, 3)}


def test_a_root_without_any_face_is_still_readable(tmp_path):
    photos = fakes.refs(fakes.write_pictures(tmp_path / "photos", [0, 0]))
    fakes.label(fakes.config(tmp_path / "labels"), photos)
    labels = tmp_path / "labels" / "labels"
    assert duckdb.sql(f"select count(*) from '{labels}/**/*.parquet'").fetchall() == [(0,)]
    assert len(pandas.read_parquet(labels)) == 0
    assert polars.scan_parquet(labels).collect().height == 0
