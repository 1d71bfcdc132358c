"""The confusion matrix as a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from fer_core.evaluation.evaluate import Evaluation
from fer_core.evaluation.plots.paper import INK, LINE, MARGIN, SOFT, heading, inches, printed, sheet
from fer_core.evaluation.plots.scored import Scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CELL: Final = 0.76
"""Side of a cell, inches."""
LEFT, RIGHT, TOP, BOTTOM = 1.4, 0.85, 1.5, 1.05
"""Room around the cells, inches."""
DARK: Final = 0.55
"""Shares from here on are written in white."""
_BLUES: Final = [(0.0, "#ffffff"), (0.25, "#cfe0f5"), (0.5, "#93b8e6"), (0.6, "#3f7bcd"), (1.0, "#0f3b7d")]
"""Without blues on which neither black nor white is easy to read."""


def confusion_png(figures: Evaluation, scored: Scored, file: Path) -> None:
    """Draw counts in cells coloured by their share of the row; recall on the right, precision below. See `paper.sheet` for errors."""
    counts = np.array(figures.confusion, np.int64)
    side = CELL * len(counts)
    with sheet(file, max(LEFT + side + RIGHT, 6.2), TOP + side + BOTTOM) as figure:
        accuracy = f"accuracy {figures.accuracy:.2%}, balanced {figures.balanced_accuracy:.2%}, macro F1 {figures.macro_f1:.3f}"
        heading(figure, scored.title(), (scored.sample(figures), accuracy))
        axes = figure.add_axes(inches(figure, LEFT, BOTTOM, side, side))
        _cells(axes, counts)
        _names(axes, figures)
        _margins(axes, figures)
        width, height = figure.get_size_inches()
        note = "Row: the true class, with its faces. Column: the predicted class.\nColour and small figures: share of the row's faces."
        figure.text(MARGIN / width, MARGIN / height, note, fontsize=8, color=SOFT, linespacing=1.5)


def _cells(axes: "Axes", counts: NDArray[np.int64]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    blues = LinearSegmentedColormap.from_list("blues", _BLUES)
    axes.imshow(shares, cmap=blues, vmin=0, vmax=1)
    axes.grid(False)
    for edge in np.arange(1, len(counts)) - 0.5:
        axes.axhline(edge, color="white", linewidth=1.5)
        axes.axvline(edge, color="white", linewidth=1.5)
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        if count == 0:
            axes.text(column, row, "0", ha="center", va="center", color=LINE)
            continue
        colour = "white" if share >= DARK else INK
        axes.text(column, row - 0.09, f"{count:,}", ha="center", va="center", color=colour, fontsize=10.5)
        axes.text(column, row + 0.24, _percent(share), ha="center", va="center", color=colour, fontsize=7, alpha=0.8)


def _names(axes: "Axes", figures: Evaluation) -> None:
    places = np.arange(len(figures.classes))
    names = [printed(name) for name in figures.classes]
    axes.set_xticks(places, names)
    axes.set_yticks([])
    for place, name in enumerate(figures.classes):
        axes.text(-0.6, place - 0.08, names[place], ha="right", va="center")
        axes.text(-0.6, place + 0.2, f"{figures.per_class[name]['support']:,}", color=SOFT, fontsize=8, ha="right", va="center")
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False, pad=7)
    axes.spines[:].set_visible(True)


def _margins(axes: "Axes", figures: Evaluation) -> None:
    count = len(figures.classes)
    beside, below = count - 0.5 + 0.1, count - 0.5 + 0.28
    axes.text(beside, -0.6, "recall", color=SOFT, ha="left", va="bottom")
    axes.text(-0.5 - 0.1, below, "precision", color=SOFT, ha="right", va="center")
    answers = np.array(figures.confusion).sum(axis=0)
    for place, name in enumerate(figures.classes):
        row = figures.per_class[name]
        axes.text(beside, place, _percent(row["recall"]) if row["support"] else "none", color=SOFT, ha="left", va="center")
        axes.text(place, below, _percent(row["precision"]) if answers[place] else "never", color=SOFT, ha="center", va="center")


def _percent(share: float) -> str:
    """Whole percents, but values near 0 and 1 are not rounded to 0 % and 100 %."""
    return f"{share:.0%}" if share in (0, 1) or 0.0095 <= share < 0.995 else f"{share:.1%}"
