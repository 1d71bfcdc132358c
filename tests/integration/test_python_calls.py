"""The calls of fer_core give the answers of the command."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fer_core
from fer_core.tables.schema import LABELS

pytestmark = pytest.mark.slow

SAME = [name for name in LABELS.names if name not in {"run_id", "labeled_at"}]


@pytest.mark.parametrize("as_bytes", [False, True])
def test_label_images_gives_the_labels_of_the_flow_bit_for_bit(labelled, as_bytes):
    files = sorted(labelled.source.iterdir())
    found = fer_core.label_images([file.read_bytes() for file in files] if as_bytes else files, detector="builtin", progress=False)
    if as_bytes:
        found["image_uri"] = [str(files[number]) for number in found.index]
    labels = pa.concat_tables([pq.read_table(part, partitioning=None) for part in sorted(labelled.root.glob("labels/*/*/*.parquet"))])
    labels = labels.sort_by([("image_uri", "ascending"), ("face_index", "ascending")])
    told = pa.Table.from_pandas(found[SAME], schema=pa.schema([LABELS.field(name) for name in SAME]), preserve_index=False)
    assert told.num_rows == 7
    assert told.equals(labels.select(SAME))
