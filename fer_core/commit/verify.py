"""Check a labels root against its manifests. Reads every part, changes nothing."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.manifest import Manifest, Part
from fer_core.commit.part_reader import part_bytes
from fer_core.commit.publish import committed_runs, is_committed, read_manifest
from fer_core.errors import CommitError
from fer_core.labels import EXPRESSIONS
from fer_core.storage.paths import STAGING, TABLES, is_run_id, plan_file
from fer_core.storage.store import Store
from fer_core.tables.schema import SCHEMAS, is_released
from fer_core.tables.unpacked_size import CROP_BYTES, check_unpacked

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

SUM_TOLERANCE: Final = 1e-6
_PROBABILITIES: Final = [f"p_{name}" for name in EXPRESSIONS]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Result of `verify`."""

    runs: int
    """Committed runs."""
    parts: int
    """Parts in their manifests."""
    rows: int
    """Rows in those parts, over all tables."""
    problems: tuple[str, ...]
    """Violations, one sentence each."""
    notes: tuple[str, ...]
    """Findings that are not violations, such as runs that were started and not committed."""

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.problems


def verify(store: Store, on_part: Callable[[int, int], None] = lambda done, total: None) -> VerifyReport:
    """Check every committed part (present, intact, schema, rows), every run (no duplicate keys, counts equal to the manifest), and that the
    tables have no other files. on_part: called with the number of parts read and the number of all parts.
    """
    problems: list[str] = []
    notes: list[str] = []
    manifests = _manifests(store, problems)
    promised = [part for manifest in manifests for part in manifest.parts]
    read = count(1)
    rows = sum(_check_run(store, manifest, problems, lambda: on_part(next(read), len(promised))) for manifest in manifests)
    problems.extend(f"in manifests {times} times: {path}" for path, times in Counter(part.path for part in promised).items() if times > 1)
    known = {part.path for part in promised}
    for path in _under_tables(store):
        if path not in known:
            _classify_unlisted_file(store, path, promised, problems, notes)
    notes.extend(
        f"a removal of rows from run {manifest.run_id} was interrupted: the next run, `ferflow forget` or housekeeping finishes it"
        for manifest in manifests
        if manifest.forgetting
    )
    notes.extend(
        f"a compaction of run {manifest.run_id} was interrupted; its parts are complete" for manifest in manifests if manifest.compacting
    )
    staged = {path.split("/")[1] for path in store.list_files(STAGING)}
    notes.extend(f"staging of run {run_id} is left over" for run_id in sorted(staged) if is_run_id(run_id))
    return VerifyReport(
        len(manifests), sum(len(manifest.parts) for manifest in manifests), rows, tuple(problems), tuple(dict.fromkeys(notes))
    )


def _manifests(store: Store, problems: list[str]) -> list[Manifest]:
    """The readable manifests; the others are added to the problems."""
    found = []
    for run_id in committed_runs(store):
        try:
            manifest = read_manifest(store, run_id)
        except CommitError as error:
            problems.append(str(error))
            continue
        if manifest.run_id == run_id:
            found.append(manifest)
        else:
            problems.append(f"the manifest of run {run_id} is that of run {manifest.run_id}")
    return found


def _check_run(store: Store, manifest: Manifest, problems: list[str], on_part: Callable[[], None]) -> int:
    """Check one run and return the number of rows in its parts."""
    try:
        manifest.check()
    except CommitError as error:
        problems.append(str(error))
    keys: dict[str, list[pa.Table]] = {table: [] for table in TABLES}
    for part in manifest.parts:
        table = _read_part(store, manifest, part, problems)
        on_part()
        if table is not None:
            keys[part.table].append(table)
    for name, tables in keys.items():
        if tables:
            problems.extend(f"run {manifest.run_id}: {found}" for found in _check_keys(name, pa.concat_tables(tables)))
    whole = {name: pa.concat_tables(tables) for name, tables in keys.items() if tables and len(tables) == len(manifest.parts_of(name))}
    if "images" in whole and not manifest.forgetting:
        problems.extend(f"run {manifest.run_id}: {found}" for found in _check_counts(manifest, whole["images"]))
    for name in ("labels", "faces"):
        if (
            name in whole
            and "images" in whole
            and not manifest.forgetting
            and whole[name].num_rows == sum(part.rows for part in manifest.parts_of(name))
        ):
            problems.extend(f"run {manifest.run_id}: {found}" for found in _check_faces(name, whole[name], whole["images"]))
    return sum(table.num_rows for tables in keys.values() for table in tables)


def _read_part(store: Store, manifest: Manifest, part: Part, problems: list[str]) -> pa.Table | None:
    """The key columns of one part; None, and a problem, if it differs from the manifest."""
    import pyarrow.parquet as pq

    if not store.exists(part.path):
        problems.append(f"missing: {part.path}")
        return None
    try:
        data = part_bytes(store, part)
    except CommitError:
        problems.append(f"damaged: {part.path} is not the file that was committed")
        return None
    new = next((new for new in manifest.forgetting if new.path == part.path), part)
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        if not is_released(file.schema_arrow.remove_metadata(), SCHEMAS[part.table]):
            problems.append(f"other columns than the schema's: {part.path}")
            return None
        wanted = ["image_uri", "status", "n_faces"] if part.table == "images" else ["image_uri", "face_index"]
        check_unpacked(file.metadata, file.schema_arrow.names, {"crop_png": CROP_BYTES})
        table = file.read(columns=["run_id", *wanted])
        if part.table == "labels":
            problems.extend(f"{found}: {part.path}" for found in _check_probabilities(file))
    except (pa.ArrowException, OSError, ValueError) as error:
        problems.append(f"unreadable: {part.path}: {' '.join(str(error).split())}")
        return None
    if table.num_rows not in (part.rows, new.rows):
        problems.append(f"{table.num_rows} rows instead of {part.rows}: {part.path}")
    if not pc.all(pc.fill_null(pc.equal(table["run_id"], manifest.run_id), False), min_count=0).as_py():
        problems.append(f"rows of another run: {part.path}")
    return table.replace_schema_metadata(None)


def _check_probabilities(file: "ParquetFile") -> Iterator[str]:
    """Eight finite probabilities that sum to 1, the largest equal to the confidence. An older release stored NaN."""
    wrong = 0
    for batch in file.iter_batches(columns=[*_PROBABILITIES, "confidence"]):
        said = np.stack([batch[name].to_numpy(zero_copy_only=False) for name in _PROBABILITIES]).astype(np.float64)
        confidence = batch["confidence"].to_numpy(zero_copy_only=False)
        with np.errstate(invalid="ignore"):
            good = np.isfinite(said).all(axis=0) & (said >= 0).all(axis=0) & (said <= 1).all(axis=0)
            good &= (np.abs(said.sum(axis=0) - 1) <= SUM_TOLERANCE) & (confidence == said.max(axis=0))
        wrong += int((~good).sum())
    if wrong:
        yield f"{wrong} faces whose probabilities are not finite, do not sum to 1, or whose largest one is not the confidence"


def _check_keys(name: str, table: pa.Table) -> Iterator[str]:
    """No duplicate keys within a run."""
    key = ["image_uri"] if name == "images" else ["image_uri", "face_index"]
    counted = table.group_by(key, use_threads=False).aggregate([([], "count_all")])
    twice = counted.filter(pc.greater(counted["count_all"], 1))
    if twice.num_rows:
        example = ", ".join(str(twice[column][0].as_py()) for column in key)
        yield f"{twice.num_rows} duplicate keys in {name}, such as {example}"


def _check_counts(manifest: Manifest, images: pa.Table) -> Iterator[str]:
    """The counts of the images table equal those of the manifest."""
    found = {row["values"]: row["counts"] for row in images["status"].value_counts().to_pylist()}
    if found != {status: count for status, count in manifest.statuses.items() if count}:
        yield f"images by status are {found}, in the manifest {manifest.statuses}"
    faces = pc.sum(images["n_faces"]).as_py() or 0
    if faces != manifest.faces:
        yield f"images count {faces} faces, the manifest {manifest.faces}"


def _check_faces(name: str, faces: pa.Table, images: pa.Table) -> Iterator[str]:
    """Each image has `n_faces` rows in the other table."""
    counted = faces.group_by("image_uri", use_threads=False).aggregate([([], "count_all")])
    at = pc.index_in(images["image_uri"], value_set=counted["image_uri"].combine_chunks())
    found = pc.fill_null(counted["count_all"].take(at), 0)
    other = images.filter(pc.not_equal(found, pc.fill_null(images["n_faces"], 0)))
    if other.num_rows:
        yield f"{other.num_rows} images have another number of faces in {name} than in images, such as {other['image_uri'][0].as_py()}"
    nowhere = pc.is_in(counted["image_uri"], value_set=images["image_uri"].combine_chunks())
    strangers = counted.filter(pc.invert(nowhere))
    if strangers.num_rows:
        yield f"{strangers.num_rows} images in {name} are not in images, such as {strangers['image_uri'][0].as_py()}"


def _under_tables(store: Store) -> Iterator[str]:
    for table in TABLES:
        yield from sorted(store.list_files(table))


def _classify_unlisted_file(store: Store, path: str, promised: Sequence[Part], problems: list[str], notes: list[str]) -> None:
    """Add a problem or a note for a file in no manifest: a part of a run that is not committed, a second copy, or an unknown file."""
    folders = path.split("/")
    run_id = folders[2].removeprefix("run=") if len(folders) == 4 and folders[2].startswith("run=") else ""
    begun = is_run_id(run_id) and store.exists(plan_file(run_id)) and not is_committed(store, run_id)
    if begun and path.endswith(".parquet"):
        notes.append(f"run {run_id} is published in part and not committed: resume it")
        return
    if not store.exists(path):  # some object stores list removed files for a while
        return
    data = store.read_bytes(path)
    alike = [part for part in promised if part.bytes == len(data)]
    digest = hashlib.sha256(data).hexdigest() if alike else ""
    original = next((part.path for part in alike if part.sha256 == digest), None)
    told = f"no committed run contains this file: {path}"
    problems.append(told if original is None else f"{told}, a second copy of {original}")
