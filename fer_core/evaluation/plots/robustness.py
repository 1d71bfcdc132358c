"""Accuracy by strength of corruption."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fer_core.evaluation.corruption import CORRUPTIONS, STRENGTHS, Corruption
from fer_core.evaluation.plots.paper import MARKS, SERIES, SOFT, heading, inches, percent, printed, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 10.8, 6.9
"""Of the sheet, inches."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One model under every corruption."""

    model: str
    digest: str
    """SHA-256 of the weights file."""
    clean: float
    """Accuracy on the faces as they are."""
    accuracy: dict[Corruption, tuple[float, ...]]
    """By strength, from 1."""

    @property
    def corrupted(self) -> float:
        """Mean accuracy over all corruptions and strengths."""
        values = [value for row in self.accuracy.values() for value in row]
        return sum(values) / len(values)


def robustness_png(trials: Sequence[Trial], sample: str, file: Path) -> None:
    """Draw one panel a corruption, one line a model. sample: description of the scored faces. See `paper.sheet` for errors."""
    with sheet(file, WIDTH, HEIGHT) as figure:
        heading(figure, "Accuracy on corrupted faces", (sample,))
        lowest = min(value for trial in trials for row in trial.accuracy.values() for value in row)
        panels = []
        for place, kind in enumerate(CORRUPTIONS):
            row, column = divmod(place, 3)
            axes = figure.add_axes(inches(figure, 0.75 + 3.35 * column, 3.6 - 2.95 * row, 2.75, 2.1))
            _panel(axes, trials, kind)
            axes.set_ylim(max(0.0, lowest - 0.06), 1.0)
            axes.tick_params(labelleft=column == 0)
            panels.append(axes)
        lines = panels[0].get_lines()
        labels = [f"{printed(t.model, 24)}  {t.digest[:12]}\nclean {t.clean:.1%}, corrupted {t.corrupted:.1%}" for t in trials]
        corner = (7.45 / WIDTH, 2.95 / HEIGHT)
        figure.legend(lines, labels, loc="upper left", bbox_to_anchor=corner, labelspacing=1.1, borderaxespad=0, fontsize=9)


def _panel(axes: "Axes", trials: Sequence[Trial], kind: Corruption) -> None:
    scale = STRENGTHS[kind]
    for index, trial in enumerate(trials):
        colour, mark = SERIES[index % len(SERIES)], MARKS[index % len(MARKS)]
        axes.plot(
            range(6), [trial.clean, *trial.accuracy[kind]], color=colour, marker=mark, linestyle="--" if index >= len(SERIES) else "-"
        )
    axes.set_title(kind.replace("_", " "), loc="left", fontweight="bold", fontsize=10.5)
    axes.set_xticks(range(6), ["clean", *(f"{amount:g}" for amount in scale.amounts)])
    axes.set_xlabel(scale.unit, color=SOFT)
    axes.yaxis.set_major_formatter(percent)
