"""The plan of a run: what it processes, written before its first shard."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from fer_core.commit.policy import read_policy
from fer_core.errors import CommitError, UsageError
from fer_core.json_reader import parse_object
from fer_core.run.configuration import RunConfig
from fer_core.storage.paths import is_run_id, plan_file
from fer_core.storage.spill import spill_tables
from fer_core.storage.store import Store
from fer_core.storage.uri import as_store_error
from fer_core.tables.parquet_writer import write_rows
from fer_core.tables.schema import EARLIER, PLAN


@dataclass(frozen=True, slots=True)
class Plan:
    """The work of a run, written before its first shard."""

    config: RunConfig
    images: pa.Table
    """`schema.PLAN`: the images to process, each with its shard."""
    listed: int
    unchanged: int
    deleted: int
    excluded: int = 0
    denied: int = 0
    expired: int = 0
    ignored: Mapping[str, int] = field(default_factory=dict)


def write_plan(store: Store, plan: Plan) -> Plan:
    """Write the plan of a new run, and return it. UsageError if the run id is invalid or the policy of the root does not allow the run,
    CommitError if the id is in use."""
    config = plan.config
    if not is_run_id(config.run_id):
        raise UsageError(f"a run id is made of lower-case letters, digits and hyphens, a letter first: {config.run_id!r}")
    if store.exists(plan_file(config.run_id)):
        raise CommitError(f"run {config.run_id} exists already: resume it or choose another id")
    read_policy(store).check(config.purpose, keep_crops=config.keep_crops)
    replace_plan(store, plan)
    return plan


def replace_plan(store: Store, plan: Plan) -> None:
    """Write a plan in the place of the run's. The caller holds the root's lease."""
    counts = ("listed", "unchanged", "deleted", "excluded", "denied", "expired")
    metadata = {
        "fer.config": json.dumps(plan.config.to_json(), sort_keys=True, ensure_ascii=False),
        **{f"fer.{name}": str(getattr(plan, name)) for name in counts},
        "fer.ignored": json.dumps(dict(plan.ignored), sort_keys=True),
    }
    with store.replacing(plan_file(plan.config.run_id)) as unfinished:
        write_rows(plan.images.cast(PLAN), metadata, unfinished)


def read_plan(store: Store, run_id: str) -> Plan:
    """The plan of a run, committed or not. CommitError if the root has no run of that id."""
    import pyarrow.parquet as pq

    if not is_run_id(run_id) or not store.exists(plan_file(run_id)):
        raise CommitError(f"unknown run: {run_id} (in {store.url()})")
    try:
        path = plan_file(run_id)
        with (
            as_store_error("read", store.url(path)),
            pq.ParquetFile(store.url(path) if store.local else pa.BufferReader(store.read_bytes(path))) as file,
        ):
            said = {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}
            images = spill_tables((as_plan(file.read_row_group(number, use_threads=False)) for number in range(file.num_row_groups)), PLAN)
        if any(images[name].null_count for name in ("image_uri", "shard")):
            raise ValueError("images without a name or a shard")
        config = RunConfig.from_json(parse_object(said["fer.config"]))
        counts = (int(said["fer.listed"]), int(said["fer.unchanged"]), int(said["fer.deleted"]))
        left_out = {name: int(said.get(f"fer.{name}", 0)) for name in ("excluded", "denied", "expired")}
        ignored = {str(kind): int(count) for kind, count in parse_object(said.get("fer.ignored", "{}")).items()}
        return Plan(config, images, *counts, **left_out, ignored=ignored)
    except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise CommitError(f"the plan of run {run_id} cannot be read: {plan_file(run_id)}") from error


def as_plan(images: pa.Table) -> pa.Table:
    """Cast to `schema.PLAN`, with nulls where a plan of an earlier release says nothing. images: with a shard each."""
    for column in EARLIER:
        if column.name not in images.column_names:
            images = images.append_column(column, pa.nulls(images.num_rows, column.type))
    return images.select(PLAN.names).cast(PLAN)
