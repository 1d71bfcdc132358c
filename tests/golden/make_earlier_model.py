"""Wrote `earlier-model/`, by the last release whose models knew no class prior: `python -m tests.golden.make_earlier_model FOLDER`."""

import json
import sys
from pathlib import Path

from fer_core.predict.predictor import Predictor
from tests.support.made_faces import faces, small_model

CROPS = 5


def main() -> None:
    """A small untrained model, and what that release said of a few drawn faces."""
    folder = Path(sys.argv[1])
    ref = small_model(folder)
    told = Predictor(ref, "cpu").predict(faces(CROPS, colour=True))
    said = {
        "digest": ref.digest,
        "probabilities": [[round(float(value), 4) for value in row] for row in told.probabilities],
        "needs_review": told.needs_review.tolist(),
    }
    (folder / "answers.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
