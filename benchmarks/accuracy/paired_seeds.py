"""Figures of runs that differ in one thing, compared seed by seed, as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev


@dataclass(frozen=True, slots=True)
class SeedFigures:
    """The figures of one way to train, by seed."""

    title: str
    """The first cells of its row, with Markdown's bars between them."""
    figures: Mapping[int, Mapping[str, float]]
    """By seed, then by the name of the measure."""


def differences(one: SeedFigures, reference: SeedFigures, measure: str) -> list[float]:
    """Figures less those of the reference, of the seeds that both have."""
    shared = sorted(one.figures.keys() & reference.figures.keys())
    return [one.figures[seed][measure] - reference.figures[seed][measure] for seed in shared]


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of values. ValueError: fewer than two."""
    if len(values) < 2:
        raise ValueError("one value has no standard error")
    return stdev(values) / sqrt(len(values))


def means_table(rows: Sequence[SeedFigures], head: str, measures: Mapping[str, str]) -> list[str]:
    """The mean over the seeds, and their standard deviation. head: of the titles. measures: their headings, by name; figures in percent."""
    lines = _head(head, measures)
    for row in rows:
        columns = [[one[measure] for one in row.figures.values()] for measure in measures]
        lines.append(f"| {row.title} | {' | '.join(_spread(column) for column in columns)} |")
    return lines


def differences_table(rows: Sequence[SeedFigures], reference: SeedFigures, head: str, measures: Mapping[str, str]) -> list[str]:
    """Mean difference to the reference in points, and its standard error over the paired seeds. Bold: beyond two of them."""
    lines = _head(head, measures)
    for row in rows:
        if row is not reference:
            lines.append(f"| {row.title} | {' | '.join(_difference(differences(row, reference, measure)) for measure in measures)} |")
    return lines


def _head(head: str, measures: Mapping[str, str]) -> list[str]:
    titles = head.count("|") + 1
    return [f"| {head} | {' | '.join(measures.values())} |", "|" + "---|" * titles + "---:|" * len(measures)]


def _spread(values: Sequence[float]) -> str:
    spread = f" ± {100 * stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.2f}{spread}"


def _difference(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{100 * values[0]:+.2f}" if values else "-"
    middle, error = mean(values), standard_error(values)
    text = f"{100 * middle:+.2f} ± {100 * error:.2f}"
    return f"**{text}**" if abs(middle) > 2 * error else text
