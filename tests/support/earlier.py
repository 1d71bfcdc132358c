"""Roots as a release wrote them that did not know the columns that came later."""

import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq

from fer_core.commit.publish import committed_runs
from fer_core.storage.paths import manifest_file
from fer_core.storage.store import open_store
from fer_core.tables.parquet_writer import write_part
from fer_core.tables.schema import ADDED


def earlier_schema(schema):
    """Of a table."""
    return pa.schema([field for field in schema if field.name not in ADDED])


def earlier_part(data):
    """The bytes of the same part without those columns."""
    rows = pq.ParquetFile(pa.BufferReader(data)).read()
    return write_part(rows.select(earlier_schema(rows.schema).names), rows.schema.metadata or {})


def as_an_earlier_release(root):
    """Write every committed part of a root anew without those columns, and promise it so."""
    store = open_store(str(root))
    for run_id in committed_runs(store):
        manifest = json.loads(store.read_bytes(manifest_file(run_id)))
        for part in manifest["parts"]:
            data = earlier_part(store.read_bytes(part["path"]))
            store.write_bytes(part["path"], data)
            part |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        store.write_bytes(manifest_file(run_id), json.dumps(manifest).encode())
