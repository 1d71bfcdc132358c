"""The same questions to every engine that reads Parquet. Each answers them from `labels/` and `images/` as they lie, on disk or in S3.

An engine is a function of (root, day, run) that returns `Answers`; partition values come from the paths.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb
import fsspec
import pandas
import polars
import pyarrow.compute as pc
import pyarrow.dataset as ds

from fer_core.export.current_view import CURRENT

LIKELY = ("p_neutral", "p_happiness", "p_fear")
"""The probabilities that are asked for: any of them above 0.6."""


@dataclass(frozen=True)
class Answers:
    """Rows are sorted."""

    of_day: Sequence[tuple[str, int, str, float, str]]
    """Labels of one day joined with their images: URI, face index, expression, p_happiness, status."""
    of_run: int
    """Labels of one run, by its folder."""
    likely: Sequence[tuple[str, int, str]]
    """Labels by probability: URI, face index, run id."""
    current: Sequence[tuple[str, int, str]] | None
    """The view: URI, face index, run id. None where the engine speaks no SQL."""
    columns: Mapping[str, str]
    """Kinds of some columns, in the words of `KINDS`."""


KINDS = {"run_date": "day", "labeled_at": "moment in UTC", "p_fear": "float32", "face_index": "int32", "needs_review": "bool"}


def use_duckdb(root: str, day: str, run: str) -> Answers:
    with duckdb.connect() as database:
        if root.startswith("s3://"):
            database.register_filesystem(fsspec.filesystem("s3"))
        database.execute("SET TimeZone = 'UTC'")
        for table in ("labels", "images"):
            database.execute(
                f"CREATE VIEW {table} AS FROM read_parquet('{root}/{table}/**/*.parquet', hive_partitioning = true, union_by_name = true)"
            )
        ask = lambda sql: database.sql(sql).fetchall()  # noqa: E731
        kinds = {"DATE": "day", "TIMESTAMP WITH TIME ZONE": "moment in UTC", "FLOAT": "float32", "INTEGER": "int32", "BOOLEAN": "bool"}
        types = {name: str(kind) for name, kind, *_ in ask("DESCRIBE labels")}
        return Answers(
            ask(
                f"""SELECT image_uri, face_index, expression, p_happiness, status
                FROM labels JOIN images USING (image_uri, run_id, run_date) WHERE run_date = date '{day}' ORDER BY ALL"""
            ),
            ask(f"SELECT count(*) FROM labels WHERE run = '{run}'")[0][0],
            ask(f"SELECT image_uri, face_index, run_id FROM labels WHERE greatest({', '.join(LIKELY)}) > 0.6 ORDER BY ALL"),
            ask(f"SELECT image_uri, face_index, run_id FROM ({CURRENT}) ORDER BY ALL"),
            {name: kinds.get(types[name], types[name]) for name in KINDS},
        )


def use_polars(root: str, day: str, run: str) -> Answers:
    options = {"aws_allow_http": "true", "aws_endpoint_url": os.environ["AWS_ENDPOINT_URL"]} if root.startswith("s3://") else None
    tables = {
        table: polars.scan_parquet(
            f"{root}/{table}/**/*.parquet",
            hive_partitioning=True,
            missing_columns="insert",
            extra_columns="ignore",
            storage_options=options,
        )
        for table in ("labels", "images")
    }
    labels, images = tables["labels"], tables["images"]
    joined = labels.filter(polars.col("run_date") == date.fromisoformat(day)).join(images, on=["image_uri", "run_id"])
    key = ["image_uri", "face_index", "run_id"]
    schema = labels.collect_schema()
    kinds = {
        polars.Date(): "day",
        polars.Datetime("us", "UTC"): "moment in UTC",
        polars.Float32(): "float32",
        polars.Int32(): "int32",
        polars.Boolean(): "bool",
    }
    return Answers(
        joined.select("image_uri", "face_index", "expression", "p_happiness", "status").collect().sort(polars.all()).rows(),
        labels.filter(polars.col("run") == run).collect().height,
        labels.filter(polars.max_horizontal(*LIKELY) > 0.6).select(key).collect().sort(key).rows(),
        polars.SQLContext(tables).execute(CURRENT).collect().select(key).sort(key).rows(),
        {name: kinds.get(schema[name], str(schema[name])) for name in KINDS},
    )


def use_pandas(root: str, day: str, run: str) -> Answers:
    labels, images = pandas.read_parquet(f"{root}/labels"), pandas.read_parquet(f"{root}/images")
    tonight = pandas.read_parquet(f"{root}/labels", filters=[("run_date", "=", day)]).merge(images, on=["image_uri", "run_id"])
    likely = labels[labels[list(LIKELY)].max(axis=1) > 0.6]
    kinds = {"category": "day", "datetime64[us, UTC]": "moment in UTC"}
    assert {str(value) for value in labels["run_date"].cat.categories} > {day}
    return Answers(
        _sorted(tonight[["image_uri", "face_index", "expression", "p_happiness", "status"]]),
        len(pandas.read_parquet(f"{root}/labels", columns=["face_id"], filters=[("run", "=", run)])),
        _sorted(likely[["image_uri", "face_index", "run_id"]]),
        None,
        {name: kinds.get(str(labels[name].dtype), str(labels[name].dtype)) for name in KINDS},
    )


def _sorted(frame: pandas.DataFrame) -> list[tuple[Any, ...]]:
    return sorted(frame.itertuples(index=False, name=None))


def use_pyarrow(root: str, day: str, run: str) -> Answers:
    fs, path = fsspec.url_to_fs(root)
    labels, images = (ds.dataset(f"{path}/{table}", filesystem=fs, partitioning="hive") for table in ("labels", "images"))
    tonight = labels.to_table(filter=pc.field("run_date") == day)
    joined = tonight.join(images.to_table(columns=["image_uri", "run_id", "status"]), ["image_uri", "run_id"])
    likely = labels.to_table(["image_uri", "face_index", "run_id"], filter=pc.max_element_wise(*map(pc.field, LIKELY)) > 0.6)
    kinds = {"string": "day", "timestamp[us, tz=UTC]": "moment in UTC", "float": "float32"}
    types = {name: str(labels.schema.field(name).type) for name in KINDS}
    return Answers(
        _tuples(joined.select(["image_uri", "face_index", "expression", "p_happiness", "status"])),
        labels.count_rows(filter=pc.field("run") == run),
        _tuples(likely),
        None,
        {name: kinds.get(kind, kind) for name, kind in types.items()},
    )


def _tuples(table: Any) -> list[tuple[Any, ...]]:
    return sorted(tuple(row.values()) for row in table.to_pylist())


ENGINES = {"duckdb": use_duckdb, "polars": use_polars, "pandas": use_pandas, "pyarrow": use_pyarrow}
