"""Results of the pipeline -> the rows that a caller gets: one a face, and one an image without any."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.labels import EXPRESSIONS
from fer_core.pipeline.label_images import LabelledImages
from fer_core.run.configuration import RunConfig
from fer_core.tables.builder import images_table, labels_table
from fer_core.tables.schema import LABELED, LABELS
from fer_core.types import Predictions

if TYPE_CHECKING:
    from pandas import DataFrame

IMAGE: Final = "image"
"""Name of the frame's index: the position of the image among those that were given, from 0."""
ROWS: Final = pa.schema([pa.field(IMAGE, pa.int64()), *LABELS, pa.field("status", pa.string()), pa.field("reason", pa.string())])
PREDICTED: Final = ("expression", "confidence", *(f"p_{name}" for name in EXPRESSIONS), "entropy", "needs_review", "novelty")
"""Columns that the model gives."""
MODEL: Final = ("model_name", "model_digest")

_OF_IMAGES: Final = {
    "image_uri": "image_uri",
    "image_sha256": "image_sha256",
    "pipeline_digest": "pipeline_digest",
    "labeled_at": "seen_at",
}
"""Columns of an image without a face, and those of the images table that they come from. All others are null."""


def label_rows(config: RunConfig, start: int, uris: Sequence[str | None], found: LabelledImages) -> pa.Table:
    """`ROWS` in the order of the images. start: position of the first one. uris: of all, as the rows are to have them."""
    # the tables are sorted by address, so the position stands in for it
    facts = [replace(one, ref=replace(one.ref, uri=f"{position:012d}")) for position, one in enumerate(found.facts)]
    faces = labels_table(config, facts, found.answers.predictions)
    images = images_table(config, facts)
    faces = faces.append_column("status", pa.repeat(pa.scalar(LABELED), faces.num_rows))
    faces = faces.append_column("reason", pa.nulls(faces.num_rows, pa.string()))
    rows = pa.concat_tables([faces.replace_schema_metadata(None), _without_faces(images)], promote_options="default")
    rows = rows.sort_by([("image_uri", "ascending"), ("face_index", "ascending")])
    positions = rows["image_uri"].cast(pa.int64())
    columns = {
        **dict(zip(rows.column_names, rows.columns, strict=True)),
        IMAGE: pc.add(positions, start),
        "image_uri": pa.array(uris, pa.string()).take(positions),
        "run_id": pa.nulls(rows.num_rows, pa.string()),
    }
    return pa.table([columns[field.name] for field in ROWS], schema=ROWS)


def _without_faces(images: pa.Table) -> pa.Table:
    rows = images.filter(pc.equal(images["n_faces"], 0))
    named = {name: rows[source] for name, source in _OF_IMAGES.items()}
    return pa.table({**named, "status": rows["status"], "reason": rows["reason"]})


def as_frame(rows: Iterable[pa.Table], columns: Sequence[str] = ROWS.names) -> "DataFrame":
    """The frame of some `ROWS`, with the positions of the images as its index. Types do not depend on what the rows hold."""
    import pandas as pd

    types = {pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}
    table = pa.concat_tables([ROWS.empty_table(), *rows]).select(columns)
    frame: DataFrame = table.to_pandas(types_mapper=types.get)
    return frame.set_index(IMAGE)


def prediction_frame(predictions: Predictions) -> "DataFrame":
    """One row a crop: `PREDICTED`."""
    columns = {
        "expression": [EXPRESSIONS[index] for index in predictions.expression],
        "confidence": predictions.confidence,
        **{f"p_{name}": predictions.probabilities[:, index] for index, name in enumerate(EXPRESSIONS)},
        "entropy": predictions.entropy,
        "needs_review": predictions.needs_review,
        "novelty": predictions.novelty if predictions.novelty is not None else pa.nulls(len(predictions), pa.float32()),
    }
    arrays = [pa.array(columns[name], LABELS.field(name).type) for name in PREDICTED]
    frame: DataFrame = pa.table(arrays, list(PREDICTED)).to_pandas()
    return frame
