"""What a training can learn from beside votes: models of ferflow, and tables of the answers of any other model."""

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
                wrong = [name for name in COLUMNS if name not in schema.names or not _fits(name, schema.field(name).type)]
                if wrong:
                    raise ValueError(f"no column {wrong[0]}, of {'text' if wrong[0] == PICTURE else 'floating-point numbers'}")
                if opened.metadata.num_rows > MOST_ROWS:
                    raise ValueError(f"{opened.metadata.num_rows:,} rows")
                check_unpacked(opened.metadata, COLUMNS)
            return cls(file.absolute(), file_sha256(file))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _unusable(file, error) from error

    def answers(self, data: TrainingData) -> NDArray[np.float64]:
        """See `Teacher`. TrainingError: damaged, or a row that is no probability."""
        try:
            table = pq.read_table(self.file, columns=list(COLUMNS))
            pictures = table[PICTURE].cast(pa.string()).to_pylist()
            rows = np.stack([table[name].cast(pa.float64()).to_numpy() for name in COLUMNS[1:]], axis=1)
            with np.errstate(invalid="ignore"):
                wrong = ~((rows >= 0).all(axis=1) & (np.abs(rows.sum(axis=1) - 1) <= SUM_ERROR))
            if wrong.any():
                raise ValueError(f"row {int(wrong.argmax()):,} holds no probabilities")
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _unusable(self.file, error) from error
        place = {picture: row for row, picture in enumerate(pictures)}
        found = np.array([place.get(picture, -1) for picture in data.pictures], np.intp)
        out = np.full((len(found), len(EXPRESSIONS)), np.nan)
        out[found >= 0] = rows[found[found >= 0]]
        return out


def _fits(name: str, kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) if name == PICTURE else pa.types.is_floating(kind))


def _unusable(file: Path, reason: Exception) -> TrainingError:
    return TrainingError(f"not a table of answers: {file} ({' '.join(str(reason).split())[:200]})")
