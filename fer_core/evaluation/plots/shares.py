"""Shares of labels by run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fer_core.evaluation.plots.paper import INK, heading, inches, percent, printed, sheet
from fer_core.labels import EXPRESSIONS

WIDEST = 60
"""Most bars that can be distinguished on a page."""


def shares_png(runs: Sequence[tuple[str, Sequence[int]]], file: Path, colours: Mapping[str, str]) -> None:
    """Draw a bar a run, oldest first: the shares of the eight expressions among its faces.

    runs: name and (8,) counts; those without a face have no bar, and of more than `WIDEST` the last are drawn. colours: by expression.
    See `paper.sheet` for errors.
    """
    shown = [(name, np.asarray(counts, np.float64)) for name, counts in runs if sum(counts)][-WIDEST:]
    with sheet(file, 11.2, 4.6) as figure:
        heading(figure, "Labels by run", (f"{len(shown)} runs, oldest first; shares of the faces of each",))
        axes = figure.add_axes(inches(figure, 0.75, 1.15, 8.6, 2.55))
        at, below = np.arange(len(shown)), np.zeros(len(shown))
        shares = np.array([counts / counts.sum() for _, counts in shown]).reshape(-1, len(EXPRESSIONS))
        for index, name in enumerate(EXPRESSIONS):
            axes.bar(at, shares[:, index], bottom=below, width=0.86, color=colours[name], label=name, edgecolor="white", linewidth=0.4)
            below = below + shares[:, index]
        axes.set_ylim(0, 1)
        axes.set_xlim(-0.6, max(len(shown), 8) - 0.4)
        axes.yaxis.set_major_formatter(percent)
        step = max(1, len(shown) // 20)
        names = [printed(name, 24) for name, _ in shown]
        axes.set_xticks(at[::step], names[::step], rotation=30, ha="right", fontsize=7.5, color=INK)
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)
