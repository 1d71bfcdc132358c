"""The command itself, with its workers, over a storage that fails now and then and then for good."""

from io import BytesIO

import pyarrow.parquet as pq
import pytest

from fer_core.commit.verify import verify
from fer_core.storage.store import open_store
from tests.faults.faulty_store import FaultSchedule, hook, under

PASSING = {"run_id", "labeled_at", "seen_at"}


def rows(file_or_bytes):
    table = pq.read_table(file_or_bytes)
    return table.drop_columns([name for name in table.column_names if name in PASSING or name in ("run_date", "run")]).to_pylist()


def ordered(found):
    return sorted(found, key=lambda row: (row["image_uri"], row.get("face_index", 0)))


@pytest.mark.long
def test_it_rides_out_what_passes_ends_in_one_line_with_what_does_not_and_goes_on(labelled, commands, tmp_path):
    objects = tmp_path / "objects"
    objects.mkdir()
    words = ["label", labelled.source, "--to", "gs://bucket/labels", "--workers", 1, "--shard-size", 1, "--json"]
    path = hook(tmp_path / "hook")

    def run(schedule, *which):
        return commands.run(*words, *which, env={"PYTHONPATH": path, "FAULTY_STORE": schedule.told()}, timeout=400)

    # in each process: the probe, the lease, the plan, receipts and parts are changes; a commit's moves come last
    broken = run(FaultSchedule(str(objects), seed=2, rate=0.02, broken_from=12), "--run-id", "one")
    assert broken.code == 1, broken.err
    assert "Access Denied" in broken.line
    assert broken.json["error"].startswith("cannot ")
    assert "Traceback" not in broken.err

    done = run(FaultSchedule(str(objects), seed=3, rate=0.02), "--resume", "one")
    assert done.code == 0, done.err
    assert done.json["images"]["labeled"] == 2
    with under(FaultSchedule(str(objects))):
        store = open_store("gs://bucket/labels")
        report = verify(store)
        assert (report.problems, report.runs) == ((), 1)
        for table in ("labels", "images"):
            parts = [store.read_bytes(name) for name in store.list_files(table)]
            found = [row for part in parts for row in rows(BytesIO(part))]
            assert ordered(found) == ordered(rows(labelled.root / table))
    commands.wait_until_gone()
