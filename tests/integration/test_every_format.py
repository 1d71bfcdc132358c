"""A collection of every format and every damage, labelled as a run does it: what docs/reference/formats.md says stands in the tables."""

import pyarrow.parquet as pq
import pytest

from fer_core.collection.inventory import list_images
from fer_core.commit.plan import write_plan
from fer_core.commit.publish import publish
from fer_core.pipeline.shard import label_shard
from fer_core.pipeline.shard_jobs import jobs
from fer_core.planning.draft import draft
from fer_core.storage.store import open_store
from flows.label_params import LabelParams
from flows.setup.label import configure
from tests.support import odd_formats

EXPECTED = {
    **dict.fromkeys(odd_formats.read_files(), ("labeled", None)),
    **{name: (status, reason) for name, (_, status, reason) in odd_formats.damaged_files().items()},
}


def contents():
    return odd_formats.read_files() | {name: data for name, (data, _, _) in odd_formats.damaged_files().items()}


def labelled(source, root):
    """Rows of `images` and `labels` of a run in this process."""
    config = configure(LabelParams(source=source, to=str(root), detector="builtin", model="tiny", run_id="night", workers=1))
    store = open_store(config.root)
    drawn = draft(store, config, list_images(source), workers=1, force=False)
    write_plan(store, drawn)
    publish(
        store, drawn.config, [label_shard(job) for job in jobs(drawn.config, drawn.images, sorted(set(drawn.images["shard"].to_pylist())))]
    )
    return [pq.read_table(root / table).to_pylist() for table in ("images", "labels")]


@pytest.fixture(params=["local", "s3"])
def source(request, tmp_path):
    root = str(tmp_path / "source") if request.param == "local" else request.getfixturevalue("s3_root")
    for name, data in contents().items():
        open_store(root).write_bytes(f"photos/{name}.jpg", data)
    return f"{root}/photos"


def test_every_file_ends_as_the_page_says(source, tmp_path):
    images, labels = labelled(source, tmp_path / "labels")
    found = {row["image_uri"].rpartition("/")[2].removesuffix(".jpg"): (row["status"], row["reason"]) for row in images}
    assert found == EXPECTED
    damaged = {row["image_uri"] for row in images if row["status"] == "labeled" and row["reason"]}
    assert len(damaged) == 3
    assert {row["image_uri"] for row in labels if row["needs_review"]} >= damaged
    assert all(row["needs_review"] for row in labels if row["image_uri"] in damaged)
