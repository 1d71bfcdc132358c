"""The whole job as real processes over everything a folder can hold, twice, in different shapes."""

import pyarrow.parquet as pq
import pytest
from broken_images import make_zoo

from fer_core.schema import QUARANTINE

PASSING = ("run_id", "labeled_at", "seen_at")
"""Columns in which two runs may differ."""


def rows(root, table, keys):
    """A table without what passes, in a fixed order."""
    read = pq.read_table(root / table).drop_columns(
        [*(name for name in PASSING if name in pq.read_table(root / table).column_names), "run_date", "run"]
    )
    return read.sort_by([(key, "ascending") for key in keys]).to_pylist()


@pytest.fixture(scope="module")
def zoo_runs(on_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo runs")
    expected = make_zoo(folder / "zoo")
    shapes = {"one": (1, 3), "two": (2, 100)}
    ended = {
        name: on_server.run("label", folder / "zoo", "--to", folder / name, "--workers", workers, "--shard-size", size, "--json")
        for name, (workers, size) in shapes.items()
    }
    return folder, expected, ended


def test_every_listed_image_ends_as_one_row_with_its_status(zoo_runs):
    folder, expected, ended = zoo_runs
    images = pq.read_table(folder / "one" / "images").to_pylist()
    assert ended["one"].code == 0, ended["one"].err
    found = {row["image_uri"].removeprefix(f"{folder / 'zoo'}/"): row for row in images}
    assert len(images) == len(found)
    assert {name: row["status"] for name, row in found.items()} == expected
    for row in images:
        assert (row["reason"] is not None) == (row["status"] in QUARANTINE)
        assert "\n" not in (row["reason"] or "")
        assert row["n_faces"] == 0 or row["status"] == "labeled"


def test_answers_do_not_depend_on_workers_or_shards(zoo_runs):
    folder, _, ended = zoo_runs
    assert ended["two"].code == 0, ended["two"].err
    for table, keys in {"labels": ("image_uri", "face_index"), "images": ("image_uri",)}.items():
        one, two = (rows(folder / name, table, keys) for name in ("one", "two"))
        assert one
        assert one == two
    assert ended["one"].json["pipeline_digest"] == ended["two"].json["pipeline_digest"]
    assert ended["one"].json["images"] == ended["two"].json["images"]


def test_verify_finds_nothing_wrong(zoo_runs, on_server):
    folder, expected, _ = zoo_runs
    said = on_server.run("verify", folder / "two", "--json")
    assert (said.code, said.json["ok"], said.json["problems"]) == (0, True, [])
    assert said.json["rows"] >= len(expected)
