"""What other programs read. Every engine must see the same rows in what a real commit wrote, on disk and in S3."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import duckdb
import fsspec
import pandas
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from fer_core.tables.schema import LABELS
from tests.support import fakes
from tests.support.earlier import earlier_part
from tests.support.reader_engines import ENGINES, KINDS, LIKELY, Answers

REPOSITORY = Path(__file__).resolve().parents[2]
FACES_IN = [1, 0, 2, 3, 0, 1, 2, 1]
DAY, RUN = "2026-01-02", "run-a"


def label_two_days(root, photos):
    """Eight images with ten faces on the first day, three of them again on the second."""
    first = fakes.keeping_crops(fakes.config(root))
    fakes.label(first, photos)
    fakes.label(replace(first, run_id="run-b", run_date=DAY, started_us=first.started_us + 86_400_000_000), photos[:3], 2)


def expected(root) -> Answers:
    """In plain Python, from the bytes of the files."""
    rows = {"labels": [], "images": []}
    for table in rows:
        fs, path = fsspec.url_to_fs(f"{root}/{table}")
        for file in fs.find(path):
            with fs.open(file, "rb") as stream:
                rows[table] += pq.ParquetFile(stream).read().to_pylist()
    images = {(row["image_uri"], row["run_id"]): row for row in rows["images"]}
    newest = {row["image_uri"]: row["run_id"] for row in sorted(rows["images"], key=lambda row: row["seen_at"])}
    tonight = [row for row in rows["labels"] if row["run_id"] == "run-b"]
    likely = [row for row in rows["labels"] if max(row[name] for name in LIKELY) > 0.6]
    now = [row for row in rows["labels"] if newest[row["image_uri"]] == row["run_id"]]
    assert (len(rows["labels"]), len(rows["images"]), len(tonight), len(now)) == (13, 11, 3, 10)
    assert 0 < len(likely) < 13
    return Answers(
        sorted(
            (r["image_uri"], r["face_index"], r["expression"], r["p_happiness"], images[r["image_uri"], r["run_id"]]["status"])
            for r in tonight
        ),
        sum(row["run_id"] == RUN for row in rows["labels"]),
        sorted((row["image_uri"], row["face_index"], row["run_id"]) for row in likely),
        sorted((row["image_uri"], row["face_index"], row["run_id"]) for row in now),
        KINDS,
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return fakes.refs(fakes.write_pictures(tmp_path_factory.mktemp("readers") / "photos", FACES_IN))


@pytest.fixture(scope="module")
def root(tmp_path_factory, photos):
    folder = tmp_path_factory.mktemp("readers") / "labels"
    label_two_days(folder, photos)
    return folder


@pytest.fixture(scope="module", params=["first", "second"])
def mixed(request, root, tmp_path_factory):
    """The same after an upgrade: an earlier release wrote the files of the first day; or of the second, as a run resumed long after."""
    folder = tmp_path_factory.mktemp("mixed") / "labels"
    shutil.copytree(root, folder)
    for table in ("labels", "images"):
        for file in sorted((folder / table).rglob(f"run={RUN if request.param == 'first' else 'run-b'}/*.parquet")):
            file.write_bytes(earlier_part(file.read_bytes()))
    return folder


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_gives_the_same_answers(root, engine):
    agree(ENGINES[engine](str(root), DAY, RUN), expected(root))


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_gives_them_of_files_of_several_releases(root, mixed, engine):
    agree(ENGINES[engine](str(mixed), DAY, RUN), expected(root))


def test_the_documented_ways_to_a_column_that_came_later(mixed):
    document = (REPOSITORY / "docs" / "guides" / "queries.md").read_text("utf-8")
    code = next(block for block in document.split("```") if block.startswith("python\nschema")).removeprefix("python\n")
    for part in sorted((mixed / "labels").rglob("*.parquet"))[:: len(FACES_IN)]:
        names = {"polars": polars, "pyarrow": pa, "PART": part}
        exec(code.replace("LABELS", str(mixed)), names)
        scan, table, frame = names["scan"].collect(), names["table"].to_table(), names["frame"]
        assert (scan.height, scan["novelty"].null_count(), scan["novelty"].dtype) == (13, 13, polars.Float32)
        assert (table.num_rows, table["novelty"].null_count, table.schema.field("novelty").type) == (13, 13, pa.float32())
        assert (len(frame), frame["novelty"].isna().sum()) == (13, 13)
        for columns in (scan.columns, table.column_names, frame.columns):
            assert set(columns) == {*LABELS.names, "run", "run_date"}


def test_the_column_of_images_that_came_later(mixed):
    """In DuckDB and Polars as documented; a file that has it says it of every image that was decoded."""
    sql = f"FROM read_parquet('{mixed}/images/*/*/*.parquet', hive_partitioning = true, union_by_name = true)"
    found = duckdb.connect().sql(f"SELECT phash IS NULL, count(DISTINCT run), count(*) {sql} GROUP BY 1").fetchall()
    assert sorted(found) in ([(False, 1, 3), (True, 1, 8)], [(False, 1, 8), (True, 1, 3)])
    part = next(file for file in (mixed / "images").rglob("*.parquet") if "phash" not in pq.read_schema(file).names)
    schema = polars.read_parquet_schema(part) | {"phash": polars.String}
    scan = polars.scan_parquet(f"{mixed}/images/**/*.parquet", hive_partitioning=True, schema=schema, missing_columns="insert").collect()
    assert (scan.height, scan["phash"].null_count() in {3, 8}) == (11, True)


def test_every_engine_gives_the_same_answers_in_s3(s3_root, photos):
    """In a process of their own: once Polars has read from S3, a native thread of it reads the environment while its process lives, and
    crashes when a later test changes a variable at that moment.
    """
    label_two_days(s3_root, photos)
    right = expected(s3_root)
    with ProcessPoolExecutor(1, get_context("spawn")) as elsewhere:
        for engine in ENGINES.values():
            agree(elsewhere.submit(engine, s3_root, DAY, RUN).result(), right)


def agree(found: Answers, right: Answers):
    plain = [row[:3] + row[4:] for row in right.of_day]
    assert [row[:3] + row[4:] for row in found.of_day] == plain
    assert [row[3] for row in found.of_day] == pytest.approx([row[3] for row in right.of_day])
    assert (found.of_run, list(found.likely)) == (right.of_run, right.likely)
    assert found.current is None or list(found.current) == right.current
    assert found.columns == right.columns


@pytest.mark.parametrize("pattern", ["{root}/{table}", "{root}/{table}/**/*.parquet", "{root}/{table}/*/*/*.parquet"])
def test_other_ways_to_name_the_files(root, pattern):
    labels, images = (pattern.format(root=root, table=table) for table in ("labels", "images"))
    assert polars.scan_parquet(labels, hive_partitioning=True).collect().height == 13
    if "*" in pattern:
        assert duckdb.connect().sql(f"select count(*), count(distinct run_id), sum(n_faces) from '{images}'").fetchall() == [(11, 2, 13)]


@pytest.mark.parametrize(("column", "value"), [("run", RUN), ("run_date", "2026-01-01")])
def test_a_partition_filter_opens_no_other_file(root, tmp_path, column, value):
    """Files of the other day are made unreadable: a reader that prunes by path does not open them."""
    shutil.copytree(root, tmp_path / "labels")
    for file in (tmp_path / "labels" / "labels").rglob("run=run-b/*.parquet"):
        file.write_bytes(b"no parquet")
    labels = tmp_path / "labels" / "labels"
    scan = polars.scan_parquet(f"{labels}/*/*/*.parquet", hive_partitioning=True)
    assert scan.filter(polars.col(column).cast(polars.String) == value).collect().height == 10
    assert len(pandas.read_parquet(labels, filters=[(column, "=", value)])) == 10
    assert ds.dataset(labels, partitioning="hive").count_rows(filter=pc.field(column) == value) == 10
    found = duckdb.connect().sql(
        f"select count(face_id) from read_parquet('{labels}/*/*/*.parquet', hive_partitioning = true) where {column} = '{value}'"
    )
    assert found.fetchall() == [(10,)]


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
    assert duckdb.connect().sql(f"select count(*) from '{labels}/**/*.parquet'").fetchall() == [(0,)]
    assert len(pandas.read_parquet(labels)) == 0
    assert polars.scan_parquet(labels).collect().height == 0


@pytest.mark.slow
def test_spark_gives_the_same_answers(root):
    """On a folder. Reading s3:// takes Hadoop's S3 connector, which is no Python package."""
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    if not shutil.which("java"):
        pytest.skip("Java is not installed")
    command = [sys.executable, "-m", "tests.support.spark_reader", root, DAY, RUN]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=800)
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout.splitlines()[-1])
    rows = {name: [tuple(row) for row in said[name]] for name in ("of_day", "likely", "current")}
    columns = {name: said["columns"][name] for name in KINDS}
    agree(Answers(rows["of_day"], said["of_run"], rows["likely"], rows["current"], columns), expected(root))
    assert said["moments"] == [["2026-01-01 00:00:00"], ["2026-01-02 00:00:00"]]
