"""Paths of all files of a labels root. They are relative to the root, with forward slashes."""

import re
from typing import Final

from fer_core.run.configuration import RunConfig
from fer_core.run.part_name import PartName
from fer_core.run.receipts import PartReceipt
from fer_core.storage.file_mode import MARK

TABLES: Final[tuple[str, ...]] = ("faces", "labels", "images")
"""Every table, in the order in which the parts of a run become visible.

A row refers only to rows that are there already: a label to its crop, an image with n faces to its n labels. So a join from `images`
never misses a label, even while a run is being published.
"""

META: Final = MARK
RUNS: Final = f"{META}/runs"
LEASES: Final = f"{META}/leases"
STAGING: Final = "_staging"
COMPACTION: Final = f"{STAGING}/_compaction"
"""Folder in which earlier releases compacted a run's parts. Its files are in no table."""

_RUN_ID: Final = re.compile(r"[a-z][a-z0-9-]*")


def is_run_id(text: str) -> bool:
    """Whether `text` can name a run: lower-case letters, digits and hyphens, a letter first. Such a name is safe inside a path."""
    return _RUN_ID.fullmatch(text) is not None


def part_beside(path: str, table: str) -> str:
    """The published part of another table that holds the same images: parts of one name belong together."""
    return f"{table}/{path.partition('/')[2]}"


def plan_file(run_id: str) -> str:
    """The plan of the run. Its presence makes the run known."""
    return f"{RUNS}/{run_id}/plan.parquet"


def manifest_file(run_id: str) -> str:
    """The manifest of the run. Its presence makes the run final."""
    return f"{RUNS}/{run_id}/manifest.json"


def staging_folder(run_id: str) -> str:
    """Files of a run that no reader uses. Removed after the commit."""
    return f"{STAGING}/{run_id}"


def receipts_folder(run_id: str) -> str:
    """One JSON file a finished shard."""
    return f"{STAGING}/{run_id}/receipts"


def receipt_file(run_id: str, part: PartName) -> str:
    """The receipt of one shard, written after its parts."""
    return f"{receipts_folder(run_id)}/{part}.json"


def coalesced_receipt_file(run_id: str, name: PartName) -> str:
    """The merged parts of one name in every table, JSON, written after them."""
    return f"{STAGING}/{run_id}/coalesced/{name.file}.json"


def begun_file(run_id: str) -> str:
    """The published paths of every commit of a run that was begun, JSON."""
    return f"{STAGING}/{run_id}/begun.json"


def staged_file(run_id: str, part: PartReceipt) -> str:
    """Staged file of a part.

    The digest is in the name: when a shard is run twice at once, on machines that round differently, each receipt names its own files.
    """
    return f"{STAGING}/{run_id}/{part.table}/{part.name}.{part.sha256[:16]}.parquet"


def run_folder(config: RunConfig, table: str) -> str:
    """The folder of one run in a table. `run_date` and `run` are in no file, as `run_id` is in no path."""
    return f"{table}/run_date={config.run_date}/run={config.run_id}"


def published_file(config: RunConfig, part: PartReceipt) -> str:
    """Published file of a part."""
    return f"{run_folder(config, part.table)}/{part.name.file}"
