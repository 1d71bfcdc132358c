"""What a shard needs of a predictor, on whichever device it computes."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fer_core.types import Predictions


class FacePredictor(Protocol):
    """What a shard needs of a predictor; see `predict`."""

    digest: str

    def predict(self, crops: NDArray[np.uint8], /) -> Predictions:
        """(N, 112, 112, 3) RGB uint8 -> N answers, each of which depends on its own crop alone."""
        ...
