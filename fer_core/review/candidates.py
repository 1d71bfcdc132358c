"""Input of a choice: the current labels in columns, each face once."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fer_core.labels import EXPRESSIONS
from fer_core.review.present import PresentLabels, boxes_of, deduplicate

_DAY_US: Final = 86_400_000_000
_READ: Final = (
    "image_uri",
    "image_sha256",
    *(f"box_{name}" for name in "xywh"),
    "face_size_px",
    "sharpness",
    "yaw_deg",
    *(f"p_{name}" for name in EXPRESSIONS),
    "model_digest",
    "detector",
    "pipeline_digest",
    "labeled_at",
)


@dataclass(frozen=True, slots=True)
class Candidates:
    """N faces. Codes number the different values of a column by rising value, so that no order of rows matters."""

    rows: NDArray[np.intp]
    """(N,) which row of the current labels each is."""
    digests: pa.Array
    """Digests of the images, rising, each once."""
    image: NDArray[np.int64]
    """(N,) codes into `digests`."""
    boxes: NDArray[np.float32]
    """(N, 4) x, y, width, height in pixels of the upright image."""
    probabilities: NDArray[np.float64]
    """(N, 8) calibrated, in the order of `labels.EXPRESSIONS`."""
    size_px: NDArray[np.float64]
    sharpness: NDArray[np.float64]
    yaw_deg: NDArray[np.float64]
    model: NDArray[np.int64]
    """(N,) codes."""
    detector: NDArray[np.int64]
    """(N,) codes."""
    pipelines: pa.Array
    """Digests of the pipelines, rising, each once."""
    pipeline: NDArray[np.int64]
    """(N,) codes into `pipelines`."""
    day: NDArray[np.int64]
    """(N,) days since the epoch on which the labels were made, UTC."""

    def __len__(self) -> int:
        return len(self.rows)

    def images(self) -> list[str]:
        """(N,) the digest of each face's image."""
        found: list[str] = self.digests.take(pa.array(self.image)).to_pylist()
        return found

    def take(self, index: NDArray[np.intp]) -> Self:
        """The faces at `index`, in that order; codes keep their meaning."""
        kept = {name: getattr(self, name) for name in ("digests", "pipelines")}
        rest = {name: getattr(self, name)[index] for name in self.__slots__ if name not in kept}
        return type(self)(**kept, **rest)

    @classmethod
    def of(cls, labels: PresentLabels, model: str | None = None) -> Self:
        """The current labels. model: only those of the model whose digest begins so; all if None."""
        table = labels.columns(_READ)
        numbers = deduplicate(table)
        if model is not None:
            ours = pc.starts_with(table["model_digest"], model).to_numpy()
            numbers = numbers[ours[numbers].astype(bool)]
        # an older release may have labelled with a model whose probabilities are NaN: their worth is undefined
        finite = np.asarray(np.isfinite(probabilities_of(table)).all(axis=1), np.bool_)
        numbers = numbers[finite[numbers]]
        return cls._from(table.take(pa.array(numbers, pa.int64())), numbers)

    @classmethod
    def _from(cls, table: pa.Table, numbers: NDArray[np.intp]) -> Self:
        digests, image = coded(table["image_sha256"])
        pipelines, pipeline = coded(table["pipeline_digest"])
        return cls(
            rows=numbers,
            digests=digests,
            image=image,
            boxes=boxes_of(table),
            probabilities=probabilities_of(table),
            size_px=_floats(table, "face_size_px"),
            sharpness=_floats(table, "sharpness"),
            yaw_deg=_floats(table, "yaw_deg"),
            model=coded(table["model_digest"])[1],
            detector=coded(table["detector"])[1],
            pipelines=pipelines,
            pipeline=pipeline,
            day=table["labeled_at"].cast(pa.int64()).to_numpy() // _DAY_US,
        )


def coded(column: pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.int64]]:
    """The different values, rising, and the number of each row's value among them."""
    encoded = column.combine_chunks().dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    number_of = np.empty(len(order), np.int64)
    number_of[order] = np.arange(len(order))
    return encoded.dictionary.take(pa.array(order)), number_of[encoded.indices.to_numpy()]


def probabilities_of(table: pa.Table) -> NDArray[np.float64]:
    """(N, 8)."""
    return np.stack([_floats(table, f"p_{name}") for name in EXPRESSIONS], axis=1).reshape(-1, len(EXPRESSIONS))


def _floats(table: pa.Table, name: str) -> NDArray[np.float64]:
    return np.asarray(table[name].to_numpy(), np.float64)
