"""Plots of the page as shares of their area, which the template writes as SVG and as tables. No colour or text is fixed in a picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.evaluation.intervals import wilson

WIDTH: Final = 10.0
"""Of a column and the gap beside it, in units of the drawing, which is 100 high."""
GAP: Final = 1.6

Written = Callable[[float], str]
"""A value as text."""


@dataclass(frozen=True, slots=True)
class Series:
    """One value for each of K columns."""

    name: str
    colour: str
    """CSS."""
    values: NDArray[np.generic]
    """(K,); what is not a number is not drawn."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    title: str
    """Shown for a pointer that rests on it."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Stacked columns."""

    title: str
    label: str
    """What the plot shows, for those who do not see it."""
    names: tuple[str, ...]
    """Of the K columns."""
    series: tuple[Series, ...]
    segments: tuple[Segment, ...]
    ticks: tuple[str, ...]
    """Texts at the bottom, in the middle and at the top."""
    cells: tuple[tuple[str, ...], ...]
    """(K, series) values as text."""

    @property
    def width(self) -> float:
        """Of the drawing."""
        return WIDTH * max(1, len(self.names))


def columns(title: str, names: Sequence[str], series: Sequence[Series], written: Written, top: float | None = None) -> Columns:
    """Series above one another. written: a value as text. top: of the axis; by default a round number above the highest column."""
    values = np.nan_to_num(np.array([one.values for one in series], np.float64).reshape(len(series), len(names)))
    highest = float(values.sum(axis=0).max(initial=0.0))
    scale = top or round_above(highest)
    segments = []
    for column, name in enumerate(names):
        below = 0.0
        for one, value in zip(series, values[:, column], strict=True):
            height = 100 * float(value) / scale
            if height > 0:
                said = f"{name}: {one.name} {written(float(value))}" if len(series) > 1 else f"{name}: {written(float(value))}"
                segments.append(Segment(column * WIDTH + GAP / 2, 100 - below - height, WIDTH - GAP, height, one.colour, said))
            below += height
    cells = tuple(
        tuple("" if np.isnan(float(one.values[at])) else written(float(one.values[at])) for one in series) for at in range(len(names))
    )
    label = f"{title}: {len(names)} columns, the highest {written(highest)}" if len(names) else f"{title}: nothing to show"
    return Columns(title, label, tuple(names), tuple(series), tuple(segments), (written(0.0), written(scale / 2), written(scale)), cells)


def shares_of(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """(N, K) counts -> shares of each row's sum, NaN where that is 0."""
    total = counts.sum(axis=1, keepdims=True)
    return np.where(total > 0, counts / np.maximum(total, 1), np.nan)


@dataclass(frozen=True, slots=True)
class ShareBar:
    """One horizontal bar of shares that are 1 together."""

    name: str
    total: int
    segments: tuple[Segment, ...]
    cells: tuple[str, ...]
    """The shares as text, and what else the table says."""


def share_bar(
    name: str, counts: NDArray[np.integer], names: Sequence[str], colours: Sequence[str], written: Written, *, part: int
) -> ShareBar:
    """A bar of a drawing that is 100 wide and 10 high. part: of the total, a share that the table alone has."""
    total = int(counts.sum())
    shares = [int(count) / total if total else 0.0 for count in counts]
    left = np.concatenate([[0.0], np.cumsum(shares)])
    segments = tuple(
        Segment(100 * float(start), 0, 100 * share, 10, colour, f"{what} {written(share)}")
        for start, share, what, colour in zip(left, shares, names, colours, strict=False)
        if share
    )
    return ShareBar(name, total, segments, tuple(written(share) for share in (*shares, part / total if total else 0.0)))


@dataclass(frozen=True, slots=True)
class Strip:
    """One value for each of K columns of a drawing that is 10 high, in a colour by its verdict."""

    name: str
    newest: str
    """The last value as text."""
    width: float
    segments: tuple[Segment, ...]


def strip(name: str, values: Sequence[tuple[str, float | None, str]], top: float, newest: str) -> Strip:
    """values: title, value and CSS colour of each column; those of None stay empty. top: what fills the height; larger values do too."""
    segments = tuple(
        Segment(at * WIDTH + GAP / 2, 10 - height, WIDTH - GAP, height, colour, f"{title}: {value:.3f}")
        for at, (title, value, colour) in enumerate(values)
        if value is not None and (height := max(0.6, 10 * min(1.0, value / top)))
    )
    return Strip(name, newest, WIDTH * max(1, len(values)), segments)


@dataclass(frozen=True, slots=True)
class Point:
    """Faces of one bin of confidence, in parts of the drawing, which is 100 wide and high."""

    x: float
    y: float
    low: float
    """Lower end of the interval, further down in the drawing."""
    high: float
    radius: float
    title: str


def reliability_points(judged: NDArray[np.int64], right: NDArray[np.int64], confidence: NDArray[np.float64]) -> list[Point]:
    """(K,) faces, those that are right and their mean confidence -> one point a bin with faces, with its 95 % interval."""
    some = np.flatnonzero(judged)
    if not len(some):
        return []
    low, high = wilson(right[some], judged[some])
    share = right[some] / judged[some]
    radius = 1.6 + 2.4 * np.sqrt(judged[some] / judged.max())
    found = zip(some, confidence[some], share, low, high, radius, strict=True)
    return [
        Point(
            float(100 * sure),
            float(100 - 100 * agreed),
            float(100 - 100 * least),
            float(100 - 100 * most),
            float(wide),
            f"{judged[at]:,} faces with a mean confidence of {sure:.0%}: reviewers agree with {agreed:.0%} ({least:.0%} to {most:.0%})",
        )
        for at, sure, agreed, least, most, wide in found
    ]


def round_above(value: float) -> float:
    """The next of 1, 2, 4, 5, 8 and 10 times a power of ten; 1 for nothing."""
    if not value > 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(step for step in (1, 2, 4, 5, 8, 10) if ceil(value / power * 1e6) <= step * 1e6) * power
