"""Agreement of the reviewers of a labels root, and its labels against their verdicts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_core.evaluation.agreement import MISSING
from fer_core.labels import EXPRESSIONS
from fer_core.monitoring.review_quality import CATEGORIES, ratings_of, review_quality
from fer_core.review.history import history
from fer_core.review.incoming import import_reviews
from fer_core.storage.store import open_store
from tests.support import reviews


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six faces; Anna answers all of them, Bert four, Cleo one, each at a time of their own."""
    folder = tmp_path_factory.mktemp("quality")
    reviews.night(folder / "root", reviews.photographs(folder / "photos", 6))
    rows = reviews.labels_of(folder / "root")
    answers: dict[str, list[str]] = {
        "Anna": ["fear", "fear", "anger", "anger", "unsure", "not_a_face"],
        "Bert": ["fear", "fear", "anger", "fear"],
        "Cleo": ["fear"],
    }
    for number, (name, verdicts) in enumerate(answers.items()):
        entries: list[dict[str, Any]] = [
            reviews.correction(row, verdict, f"2026-02-0{number + 1}T10:00:00.000Z") for row, verdict in zip(rows, verdicts, strict=False)
        ]
        file = reviews.written(folder / f"{name}.json", reviews.corrections(entries, reviewer=name))
        import_reviews(open_store(str(folder / "root")), file)
    return folder / "root"


def test_ratings(reviewed: Path) -> None:
    names, ratings = ratings_of(history(open_store(str(reviewed))))
    assert names == ("Anna", "Bert", "Cleo")
    fear, anger = EXPRESSIONS.index("fear"), EXPRESSIONS.index("anger")
    none = CATEGORIES.index("not_a_face")
    assert sorted(ratings.tolist()) == sorted(
        [
            [fear, fear, fear],
            [fear, fear, MISSING],
            [anger, anger, MISSING],
            [anger, fear, MISSING],
            [MISSING, MISSING, MISSING],
            [none, MISSING, MISSING],
        ]
    )


def test_figures(reviewed: Path) -> None:
    found = review_quality(open_store(str(reviewed)))
    assert found.reviewers == {"Anna": 5, "Bert": 4, "Cleo": 1}
    kappa = found.kappas["Anna", "Bert"]
    # 3 of 4 alike; by chance (2 * 3 + 2 * 1) / 16
    assert (kappa.units, kappa.observed, kappa.value) == (4, pytest.approx(0.75), pytest.approx(0.5))
    assert list(found.kappas) == [("Anna", "Bert"), ("Anna", "Cleo"), ("Bert", "Cleo")]
    assert found.alpha.units == 4
    assert found.alpha.low <= found.alpha.value <= found.alpha.high
    assert found.labels is not None
    labels = reviews.labels_of(reviewed)
    last = ["fear", "fear", "anger", "fear"]  # the newest verdicts that name an expression
    right = np.mean([row["expression"] == verdict for row, verdict in zip(labels[:4], last, strict=True)])
    assert (found.labels.n, found.labels.accuracy) == (4, pytest.approx(right))
    assert {part.by for part in found.slices} == {"face size", "sharpness", "turn"}
    assert sum(part.faces for part in found.slices if part.by == "turn") == 4


def test_a_root_without_reviews(tmp_path: Path) -> None:
    reviews.night(tmp_path / "root", reviews.photographs(tmp_path / "photos", 1))
    found = review_quality(open_store(str(tmp_path / "root")))
    assert (found.reviewers, found.kappas, found.alpha.units, found.labels, found.slices) == ({}, {}, 0, None, ())
