"""A labels root of many small parts, and a DuckDB reader that asks it again and again, in a process of its own."""

import json
import subprocess
import sys
from dataclasses import replace

import duckdb

from fer_core.store import open_store
from tests import fakes

FACES = [1, 0, 2, 3, 0, 1, 2, 1]

ASKING = """
import json, select, sys, time, duckdb

root, pause, how = sys.argv[1], float(sys.argv[2]), sys.argv[3]
options = "hive_partitioning = true" + (", union_by_name = true" if how == "union" else "")
labels = f"read_parquet('{root}/labels/**/*.parquet', {options})"
query = {
    "count": f"select count(*), count(distinct (run_id, image_uri, face_index)) from {labels}",
    "union": f"select count(*), count(distinct (run_id, image_uri, face_index)) from {labels}",
    "join": f"select count(*), count(distinct (l.run_id, l.image_uri, face_index)) from {labels} l join "
            f"read_parquet('{root}/images/**/*.parquet') i using (run_id, image_uri)",
}[how]
seen, questions, errors = set(), 0, []
end = time.monotonic() + 800
while time.monotonic() < end:
    try:
        seen.add(tuple((duckdb.sql(query) if how == "join" else duckdb.execute(query)).fetchall()[0]))
    except Exception as error:
        errors.append(str(error)[:300])
    questions += 1
    if questions % 5 == 0:
        print(questions, flush=True)
    time.sleep(pause)
    if select.select([sys.stdin], [], [], 0)[0]:
        break
print(json.dumps({"seen": sorted(seen), "questions": questions, "errors": errors}), flush=True)
"""


def three_nights(photos, run):
    """Three runs of eight, eight and two images: four, eight and one part a table. photos: pictures with `FACES`."""
    fakes.label(fakes.keeping_crops(run), fakes.refs(photos), 2)
    fakes.label(replace(run, run_id="run-b", run_date="2026-01-02", started_us=run.started_us + 1), fakes.refs(photos), 1)
    fakes.label(replace(run, run_id="run-c", run_date="2026-01-03", started_us=run.started_us + 2), fakes.refs(photos)[:2], 5)
    return open_store(run.root)


def globbed(root):
    """Rows of `labels`, and different ones."""
    query = f"select count(*), count(distinct (run_id, image_uri, face_index)) from read_parquet('{root}/labels/**/*.parquet')"
    return duckdb.sql(query).fetchall()


def reading(root, how, pause):
    """A reader that has asked five times. how: `count`, `union` or `join`; pause: seconds between two questions."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", ASKING, root, str(pause), how], stdin=pipe, stdout=pipe, text=True)
    while process.stdout.readline() != "5\n":
        assert process.poll() is None, process.returncode
    return process


def ended(process):
    """What it has seen, five to ten questions later."""
    process.stdout.readline()
    with process:
        process.stdin.write("stop\n")
        process.stdin.close()
        return json.loads(process.stdout.read().splitlines()[-1])
