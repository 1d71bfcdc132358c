"""The protocol of predictors, on any device."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fer_core.types import Predictions


class FacePredictor(Protocol):
    """Predicts the expressions of a shard's faces; see `predict`."""

    digest: str

    def predict(self, crops: NDArray[np.uint8], /) -> Predictions:
        """(N, 112, 112, 3) RGB uint8 -> N predictions, each of which depends on its own crop alone."""
        ...
