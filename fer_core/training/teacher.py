"""What a training can learn from beside votes: models of ferflow, and tables of the answers of any other model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fer_core.errors import TrainingError
from fer_core.hashing import file_sha256
from fer_core.labels import EXPRESSIONS
from fer_core.predict.predictor import Predictor
from fer_core.tables.unpacked_size import check_unpacked
from fer_core.training.dataset import TrainingData

SUFFIX: Final = ".parquet"
PICTURE: Final = "picture"
COLUMNS: Final = (PICTURE, *(f"p_{name}" for name in EXPRESSIONS))
MOST_ROWS: Final = 20_000_000
SUM_ERROR: Final = 1e-3
FACES_AT_ONCE: Final = 4096
ROWS_AT_ONCE: Final = 65_536


class Teacher(Protocol):
    """Answers for faces to train on."""

    def answers(self, data: TrainingData, /) -> NDArray[np.float64]:
        """(N, 8) probabilities in the house order; rows of NaN where it has none."""
        ...


class ModelTeacher:
    """A model of ferflow; it has an answer for every face."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def answers(self, data: TrainingData) -> NDArray[np.float64]:
        """See `Teacher`: calibrated probabilities."""
        faces = data.faces[:, 0].numpy()
        parts = [self._predictor.probabilities(faces[start : start + FACES_AT_ONCE]) for start in range(0, len(faces), FACES_AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros((0, len(EXPRESSIONS)))


@dataclass(frozen=True, slots=True)
class AnswerTable:
    """A Parquet file: `picture`, as face sets have it, and the probabilities `p_neutral` to `p_contempt` of the face in it."""

    file: Path
    digest: str

    @classmethod
    def of(cls, file: Path) -> "AnswerTable":
        """TrainingError: no such file, another schema, or more than is read. Its rows are read later."""
        try:
            with pq.ParquetFile(file) as opened:
                schema = opened.schema_arrow
                wrong = [name for name in COLUMNS if schema.names.count(name) != 1 or not _fits(name, schema.field(name).type)]
                if wrong:
                    raise ValueError(f"not one column {wrong[0]}, of {'text' if wrong[0] == PICTURE else 'floating-point numbers'}")
                if opened.metadata.num_rows > MOST_ROWS:
                    raise ValueError(f"{opened.metadata.num_rows:,} rows")
                check_unpacked(opened.metadata, COLUMNS)
            return cls(file.absolute(), file_sha256(file))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _unusable(file, error) from error

    def answers(self, data: TrainingData) -> NDArray[np.float64]:
        """See `Teacher`. TrainingError: damaged, changed, a row that is no probability, a picture twice, or no picture of the faces."""
        place = {picture: number for number, picture in enumerate(dict.fromkeys(data.pictures))}
        known = np.full((len(place), len(EXPRESSIONS)), np.nan)
        try:
            if file_sha256(self.file) != self.digest:
                raise ValueError("it changed meanwhile")
            with pq.ParquetFile(self.file, read_dictionary=[PICTURE]) as opened:
                for batch in opened.iter_batches(ROWS_AT_ONCE, columns=list(COLUMNS)):
                    _keep(batch, place, known)
            if np.isnan(known).all():
                raise ValueError("none of its pictures is in the face sets")
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _unusable(self.file, error) from error
        return known[[place[picture] for picture in data.pictures]]


def _keep(batch: pa.RecordBatch, place: Mapping[str, int], known: NDArray[np.float64]) -> None:
    """Copy the rows of pictures that are asked for. ValueError: a row that is no probability, or a second one of a picture.

    Texts stay in their dictionary: one long text that all rows share is not written out for each.
    """
    pictures = batch.column(PICTURE)
    if not pa.types.is_dictionary(pictures.type):
        pictures = pictures.dictionary_encode()
    if pictures.null_count:
        raise ValueError("a row without a picture")
    rows = np.stack([batch.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False) for name in COLUMNS[1:]], axis=1)
    with np.errstate(invalid="ignore"):
        wrong = ~((rows >= 0).all(axis=1) & (np.abs(rows.sum(axis=1) - 1) <= SUM_ERROR))
    if wrong.any():
        raise ValueError(f"row {int(wrong.argmax()):,} of a batch holds no probabilities")
    numbers = np.array([place.get(text, -1) for text in pictures.dictionary.to_pylist()], np.intp)
    found = numbers[pictures.indices.to_numpy()] if len(numbers) else np.zeros(0, np.intp)
    wanted = np.flatnonzero(found >= 0)
    if len(np.unique(found[wanted])) < len(wanted) or not np.isnan(known[found[wanted]]).all():
        raise ValueError("a picture has two rows")
    known[found[wanted]] = rows[wanted]


def _fits(name: str, kind: pa.DataType) -> bool:
    if name != PICTURE:
        return bool(pa.types.is_floating(kind))
    text = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(text) or pa.types.is_large_string(text))


def _unusable(file: Path, reason: Exception) -> TrainingError:
    return TrainingError(f"not a table of answers: {file} ({' '.join(str(reason).split())[:200]})")
