"""What the files themselves say to a reader: columns, types, ids, statistics, order and provenance."""

import math
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_core.tables.builder import part_metadata
from fer_core.tables.schema import FACES, IMAGES, LABELS
from tests.support import fakes

SCHEMAS = {"labels": LABELS, "images": IMAGES, "faces": FACES}
STORED = {
    pa.string(): ("BYTE_ARRAY", "String"),
    pa.binary(): ("BYTE_ARRAY", "None"),
    pa.int32(): ("INT32", "None"),
    pa.int64(): ("INT64", "None"),
    pa.float32(): ("FLOAT", "None"),
    pa.bool_(): ("BOOLEAN", "None"),
    pa.timestamp("us", "UTC"): ("INT64", "Timestamp(isAdjustedToUTC=true, timeUnit=microseconds"),
}
"""How each type of the schemas lies in Parquet: physical type, logical type."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two committed runs by id, in one root: with faces and crops, and of one image without a face."""
    folder = tmp_path_factory.mktemp("files")
    photos = fakes.refs(fakes.write_pictures(folder / "photos", [1, 0, 2, 3, 0, 1]))
    first = fakes.keeping_crops(fakes.config(folder / "labels"))
    second = replace(first, run_id="run-b", started_us=first.started_us + 1)
    fakes.label(first, photos)
    fakes.label(second, photos[1:2])
    return {"run-a": first, "run-b": second}


@pytest.fixture(scope="module")
def root(runs):
    return Path(runs["run-a"].root)


def parts(root, table):
    """(path, file, rows) of each part."""
    files = sorted((root / table).rglob("*.parquet"))
    assert len(files) == 3
    return [(file, pq.ParquetFile(file), pq.ParquetFile(file).read()) for file in files]


@pytest.mark.parametrize("table", SCHEMAS)
def test_columns_types_and_ids(root, table):
    for _, file, rows in parts(root, table):
        assert rows.schema.remove_metadata().equals(SCHEMAS[table], check_metadata=True)
        for number, field in enumerate(SCHEMAS[table]):
            column = file.schema.column(number)
            physical, logical = STORED[field.type]
            assert (column.name, column.physical_type) == (field.name, physical)
            assert str(column.logical_type).startswith(logical)
            assert column.max_definition_level == 1, "may be null"
            assert file.schema_arrow.field(number).metadata[b"PARQUET:field_id"] == str(number + 1).encode()


@pytest.mark.parametrize("table", SCHEMAS)
def test_every_column_has_its_statistics(root, table):
    checked = 0
    for _, file, rows in parts(root, table):
        for group in range(file.num_row_groups if rows.num_rows else 0):
            held = file.read_row_group(group)
            for number, name in enumerate(rows.schema.names):
                chunk, values = file.metadata.row_group(group).column(number), held[name].drop_null().to_pylist()
                assert chunk.is_stats_set
                assert chunk.compression == "ZSTD"
                assert chunk.statistics.null_count == held.num_rows - len(values)
                if name == "crop_png":  # pictures: values of over 4 KB have no bounds
                    continue
                assert chunk.statistics.has_min_max == bool(values)
                if values:
                    found = (chunk.statistics.min, chunk.statistics.max)
                    assert same(found, (min(values), max(values))), name
                    checked += 1
    assert checked > 10


def same(found, right):
    if isinstance(right[0], float):
        return all(math.isclose(*pair, abs_tol=1e-9) for pair in zip(found, right, strict=True))
    return found == right


@pytest.mark.parametrize("table", SCHEMAS)
def test_the_order_is_recorded_and_kept(root, table):
    keys = ["image_uri"] if table == "images" else ["image_uri", "face_index"]
    for _, file, rows in parts(root, table):
        order = [tuple(row.values()) for row in rows.select(keys).to_pylist()]
        assert order == sorted(set(order))
        for group in range(file.num_row_groups):
            sorting = file.metadata.row_group(group).sorting_columns
            assert [rows.schema.names[column.column_index] for column in sorting] == keys
            assert not any(column.descending for column in sorting)


@pytest.mark.parametrize("table", SCHEMAS)
def test_where_a_part_comes_from_stands_in_it(root, runs, table):
    for path, file, rows in parts(root, table):
        run_id = path.parent.name.removeprefix("run=")
        said = {key.decode(): value.decode() for key, value in file.metadata.metadata.items() if key.startswith(b"fer.")}
        assert said == part_metadata(runs[run_id])
        assert {"fer.schema_version", "fer.run_id", "fer.pipeline_digest", "fer.model_digest", "fer.detector", "fer.purpose"} <= said.keys()
        assert set(rows["run_id"].to_pylist()) <= {run_id}


def test_only_parquet_lies_under_a_table(root):
    files = [file for table in SCHEMAS for file in (root / table).rglob("*") if file.is_file()]
    assert files
    assert {file.suffix for file in files} == {".parquet"}


@pytest.mark.parametrize("table", SCHEMAS)
def test_the_run_stands_in_the_files_and_its_day_in_the_path(root, table):
    for path, _, rows in parts(root, table):
        assert "run_id" in rows.schema.names
        assert not {"run_date", "run"} & set(rows.schema.names)
        assert [part.split("=")[0] for part in path.relative_to(root / table).parts[:-1]] == ["run_date", "run"]
