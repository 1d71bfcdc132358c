"""Reliability diagram: accuracy against confidence."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fer_core.evaluation.evaluate import Evaluation
from fer_core.evaluation.intervals import wilson
from fer_core.evaluation.plots.paper import LINE, SERIES, SOFT, heading, inches, percent, sheet
from fer_core.evaluation.plots.scored import Scored
from fer_core.models.calibration import BINS, ReliabilityBins

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def reliability_png(figures: Evaluation, scored: Scored, file: Path) -> None:
    """Draw accuracy against confidence in 15 bins, with the diagonal and the faces of each bin. See `paper.sheet` for errors."""
    bins = figures.reliability
    with sheet(file, 6.6, 8.0) as figure:
        confidence = bins.confidence_sum.sum() / max(int(bins.faces.sum()), 1)
        line = f"expected calibration error (ECE) {figures.ece:.3f}; mean confidence {confidence:.1%}, accuracy {figures.accuracy:.1%}"
        heading(figure, scored.title(), (scored.sample(figures), line))
        below = figure.add_axes(inches(figure, 0.85, 0.7, 5.4, 1.15))
        above = figure.add_axes(inches(figure, 0.85, 2.05, 5.4, 4.75), sharex=below)
        _accuracies(above, bins)
        _counts(below, bins)


def _accuracies(axes: "Axes", bins: ReliabilityBins) -> None:
    some = bins.faces > 0
    confidence, accuracy = bins.confidence[some], bins.accuracy[some]
    low, high = wilson(bins.right[some], bins.faces[some])
    axes.plot([0, 1], [0, 1], color=LINE, linestyle=(0, (4, 3)), linewidth=1.4, label="perfect calibration")
    axes.vlines(confidence, low, high, color=SERIES[0], linewidth=1.2, alpha=0.45, label="95% interval")
    axes.plot(confidence, accuracy, color=SERIES[0], marker="o", clip_on=False, zorder=3, label="faces of a bin")
    axes.set(ylabel="accuracy", ylim=(0, 1.02))
    axes.yaxis.set_major_formatter(percent)
    axes.tick_params(labelbottom=False)
    for across, up, side, text in ((0.03, 0.7, "left", "underconfident"), (0.97, 0.3, "right", "overconfident")):
        paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 2}
        axes.text(across, up, text, color=SOFT, fontsize=8.5, ha=side, va="center", transform=axes.transAxes, linespacing=1.4, bbox=paper)
    axes.legend(loc="upper left")


def _counts(axes: "Axes", bins: ReliabilityBins) -> None:
    centres = (np.arange(BINS) + 0.5) / BINS
    axes.bar(centres, bins.faces, width=0.85 / BINS, color=SERIES[0], alpha=0.35)
    for centre, count in zip(centres, bins.faces, strict=True):
        if count:
            axes.annotate(
                f"{count:,}", (centre, count), (0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=7, color=SOFT
            )
    axes.set(xlabel="confidence (the largest probability)", ylabel="faces", xlim=(0, 1), ylim=(0, 1.2 * max(int(bins.faces.max()), 1)))
    axes.set_yticks([])
    axes.xaxis.set_major_formatter(percent)
    axes.set_xticks(np.linspace(0, 1, 6))
