"""Training sets: faces with votes or a label, one Parquet file a split beside a small JSON card.

FACESET/faceset.json            name, kind, classes, detector, counts, digests
FACESET/faces-<split>.parquet   one row a face, `SCHEMA`

Training and evaluation import everything from here; modules that write a face set also import `staging` and `writer`.
"""

from fer_core.faceset.card import FaceSetCard, card_for_model, faceset_digest, read_card, write_card
from fer_core.faceset.reader import held_out_pictures, read_rows, read_split
from fer_core.faceset.schema import SCHEMA, SPLITS, VOTE_COLUMNS, Kind, Row, split_file
from fer_core.faceset.split import UNANIMOUS, FaceSplit, carve_dev, join, vote_targets
from fer_core.faceset.writer import write_split

__all__ = [
    "SCHEMA",
    "SPLITS",
    "UNANIMOUS",
    "VOTE_COLUMNS",
    "FaceSetCard",
    "FaceSplit",
    "Kind",
    "Row",
    "card_for_model",
    "carve_dev",
    "faceset_digest",
    "held_out_pictures",
    "join",
    "read_card",
    "read_rows",
    "read_split",
    "split_file",
    "vote_targets",
    "write_card",
    "write_split",
]
