import pytest

from benchmarks.accuracy.paired_seeds import SeedFigures, differences, differences_table, means_table, standard_error

OURS = SeedFigures("ours", {0: {"accuracy": 0.80}, 1: {"accuracy": 0.70}, 2: {"accuracy": 0.90}})
OTHER = SeedFigures("other", {0: {"accuracy": 0.79}, 1: {"accuracy": 0.69}, 2: {"accuracy": 0.89}, 3: {"accuracy": 0.1}})
UNSURE = SeedFigures("unsure", {0: {"accuracy": 0.82}, 1: {"accuracy": 0.69}, 2: {"accuracy": 0.89}})
MEASURES = {"accuracy": "accuracy"}


def test_seeds_are_paired() -> None:
    """A difference that every seed shows is sure, however far the seeds are apart; a seed that only one has does not count."""
    assert differences(OTHER, OURS, "accuracy") == pytest.approx([-0.01] * 3)
    assert standard_error([1.0, 2.0, 3.0]) == pytest.approx(1 / 3**0.5)
    with pytest.raises(ValueError, match="no standard error"):
        standard_error([1.0])


def test_tables() -> None:
    assert means_table([OURS], "run", MEASURES)[-1] == "| ours | 80.00 ± 10.00 |"
    table = differences_table([OURS, OTHER, UNSURE], OURS, "run", MEASURES)
    assert table[2:] == ["| other | **-1.00 ± 0.00** |", "| unsure | -0.00 ± 1.00 |"]
    assert table[1] == "|---|---:|"
