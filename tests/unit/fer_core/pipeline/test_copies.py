"""Identical content under several names: processed once, in whatever order threads decode, and with the rows of each name."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_core.pipeline.shard import label_shard
from fer_core.run.part_name import PartName
from fer_core.run.shard_job import ShardJob
from fer_core.storage.paths import staged_file
from fer_core.storage.store import open_store
from tests.support import fakes


def read_rows(file):
    return pq.ParquetFile(file).read()


class Counting(fakes.FakeDetector):
    """Counts the pictures that it gets."""

    def __init__(self):
        self.seen = 0

    def detect(self, pixels, side=None, /):
        self.seen += 1
        return super().detect(pixels, side)


@pytest.mark.parametrize("decoders", ["0", "1", "4"])
def test_copies_are_processed_once(tmp_path, monkeypatch, decoders):
    monkeypatch.setenv("FERFLOW_DECODERS", decoders)
    folder = fakes.write_pictures(tmp_path / "photos", [2, 0, 3])
    for number in range(3):
        for copy in ("a", "z"):
            (folder / f"{copy}{number}.png").write_bytes((folder / f"image-00{number}.png").read_bytes())
    for name in ("b.png", "y.png"):
        (folder / name).write_bytes(b"no picture")
    run = fakes.keeping_crops(fakes.config(tmp_path / "labels", source=str(folder)))
    detector = Counting()
    tools = replace(fakes.tools(), detector=detector)
    receipt = label_shard(ShardJob(run, PartName(0), tuple(fakes.refs(folder))), tools)
    assert detector.seen == 3
    assert (receipt.statuses, receipt.reused, receipt.faces) == ({"labeled": 6, "no_face": 3, "unsupported": 2}, 6, 15)
    assert receipt.failed_again == 0
    tables = {part.table: read_rows(tmp_path / "labels" / staged_file(run.run_id, part)) for part in receipt.parts}
    alone = {}
    for ref in fakes.refs(folder):
        one = replace(run, run_id="alone", root=str(tmp_path / "alone" / ref.uri.rpartition("/")[2]))
        done = label_shard(ShardJob(one, PartName(0), (ref,)), fakes.tools())
        for part in done.parts:
            alone.setdefault(part.table, []).append(read_rows(f"{one.root}/{staged_file('alone', part)}"))
    for name, table in tables.items():
        expected = pa.concat_tables(alone[name]).drop_columns("run_id")
        assert table.drop_columns("run_id").equals(expected), name
    assert open_store(run.root).list_files()
