"""The root that docs/guides/queries.md answers its questions on: eight nights of two models, and reviews of two people."""

from pathlib import Path

from benchmarks.common.large_root import RootSize, make_root
from fer_core.labels import EXPRESSIONS
from fer_core.review.incoming import import_reviews
from fer_core.storage.store import open_store
from tests.support.reviews import correction, corrections, labels_of, written

SIZE = RootSize(faces=3_000, nights=8)


def question_root(folder: Path) -> Path:
    """`folder/LABELS`. Anna reviewed every twelfth current face, Ben half of those."""
    root = folder / "LABELS"
    make_root(root, SIZE)
    rows = labels_of(root)[::12]
    for reviewer, step, wrong, day in (("Anna", 1, 7, 20), ("Ben", 2, 5, 21)):
        said = [
            correction(row, _other(row["expression"]) if number % wrong == 3 else row["expression"], f"2026-03-{day}T10:00:00.000Z")
            for number, row in enumerate(rows[::step])
        ]
        file = written(folder / f"{reviewer}.json", corrections(said, reviewer=reviewer))
        import_reviews(open_store(str(root)), file)
    return root


def _other(expression: str) -> str:
    return EXPRESSIONS[(EXPRESSIONS.index(expression) + 1) % len(EXPRESSIONS)]
