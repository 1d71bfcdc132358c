"""Every place of a labels root that names denied images or faces. Reads, changes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.deny_list import DenyList
from fer_core.commit.part_reader import read_part
from fer_core.commit.plan import read_plan
from fer_core.commit.publish import committed_runs, read_manifest
from fer_core.commit.rewrite import row_filter, touched_parts
from fer_core.erasure.named import Named
from fer_core.erasure.staged import of_staged, run_of, staged_tables
from fer_core.review.history import review_files
from fer_core.storage.paths import RUNS, is_run_id, plan_file
from fer_core.storage.store import Store
from fer_core.tables.schema import SCHEMAS

_COLUMNS = {
    table: pa.schema([field for field in SCHEMAS[table] if field.name in {"image_uri", "image_sha256", "face_index", "status", "n_faces"}])
    for table in SCHEMAS
}


@dataclass(frozen=True, slots=True)
class Place:
    """One file that names an image."""

    kind: str
    """`labels`, `images`, `faces`, `plan`, `reviews` or `staging`."""
    run_id: str
    """The run whose file it is; empty for reviews."""
    path: str
    """Relative to the labels root."""
    rows: int
    """That name it."""


def places_of(store: Store, named: Named) -> list[Place]:
    """Every place that names what was asked for. Of a face only the rows of that face count."""
    return list(places(store, DenyList.new().extended(named.uris, named.contents, named.faces)))


def places(store: Store, deny: DenyList) -> Iterator[Place]:
    """Every place that names what is denied: first committed tables, then plans, reviews and staging."""
    for run_id in committed_runs(store):
        yield from _published(store, run_id, deny)
    for run_id in planned_runs(store):
        rows = pc.sum(deny.denies(read_plan(store, run_id).images), min_count=0).as_py()
        if rows:
            yield Place("plan", run_id, plan_file(run_id), rows)
    for path, reviews in review_files(store):
        rows = pc.sum(of_rows(deny, reviews), min_count=0).as_py()
        if rows:
            yield Place("reviews", "", path, rows)
    for staged in staged_tables(store):
        rows = 0 if staged.rows is None else pc.sum(of_staged(deny, staged), min_count=0).as_py()
        if rows:
            yield Place("staging", run_of(staged.path), staged.path, rows)


def planned_runs(store: Store) -> list[str]:
    """Ids of the runs that have a plan, committed or not, in alphabetical order."""
    files = (path.split("/") for path in store.list_files(RUNS))
    return sorted(parts[-2] for parts in files if parts[-1] == "plan.parquet" and is_run_id(parts[-2]))


def of_rows(deny: DenyList, rows: pa.Table) -> pa.Array:
    """For each row, which has a box, whether its image or its face is denied."""
    return pc.or_(deny.denies(rows), deny.denied_faces(rows))


def _published(store: Store, run_id: str, deny: DenyList) -> Iterator[Place]:
    manifest = read_manifest(store, run_id)
    touched = touched_parts(store, manifest, deny)
    keep = row_filter(store, manifest, deny, touched)
    for part in touched:
        rows = read_part(store, part, _COLUMNS[part.table], run_id)
        gone = rows.num_rows - keep.kept(part.table, rows).num_rows
        if gone:
            yield Place(part.table, run_id, part.path, gone)
