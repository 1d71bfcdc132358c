"""Precision and recall of every detector as its threshold falls, as one PNG."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.detector.figures import Judged
from benchmarks.detector.truth import Scene, shorter_sides
from fer_core.evaluation.plots.paper import MARKS, SERIES, heading, inches, percent, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST = 20
"""Shorter side of the smallest faces that count on the photographs, pixels."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One point for every distinct score, by falling score."""

    scores: NDArray[np.float64]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Panel:
    """One set of pictures."""

    title: str
    curves: dict[str, Curve]
    """By detector."""
    shipped: dict[str, Curve]
    """The same at the threshold that the detector is measured at, of which the last point is marked."""


def curve(scenes: Sequence[Scene], judged: Sequence[Judged], least: float = 0) -> Curve:
    """Recall at IoU 0.5 of the faces whose shorter side is at least `least`, and precision as the share of hits among hits and false boxes.

    Left out are boxes that found smaller faces, that a witness vouches for, and that found a face at IoU 0.4 only.
    """
    scores, hits, false = [], [], []
    faces = 0
    for scene, seen in zip(scenes, judged, strict=True):
        large = shorter_sides(scene.boxes) >= least
        hit = np.zeros(len(seen.faces), bool)
        hit[seen.strict[large & (seen.strict >= 0)]] = True
        faces += int(large.sum())
        scores.append(seen.faces.scores)
        hits.append(hit)
        false.append(seen.false & ~hit)
    joined = np.concatenate(scores).astype(np.float64)
    order = np.argsort(-joined, kind="stable")
    joined, right = joined[order], np.cumsum(np.concatenate(hits)[order])
    counted = right + np.cumsum(np.concatenate(false)[order])
    last = np.flatnonzero(np.diff(joined, append=-1.0))
    precision = np.divide(right[last], counted[last], out=np.ones(len(last)), where=counted[last] > 0)
    return Curve(joined[last], right[last] / max(1, faces), precision)


def curves_png(panels: Sequence[Panel], thresholds: dict[str, float | None], lines: Sequence[str], file: Path) -> None:
    """Draw the panels side by side, each whole and enlarged below. thresholds: of the marks; lines: said below the title."""
    with sheet(file, 0.6 + 5.6 * len(panels), 9.6) as figure:
        heading(figure, "Face detectors: precision and recall as the threshold falls", lines)
        for place, panel in enumerate(panels):
            whole, corner = (figure.add_axes(inches(figure, 0.85 + 5.6 * place, bottom, 4.75, 3.1)) for bottom in (5.25, 1.2))
            for axes in (whole, corner):
                _draw(axes, panel, list(thresholds))
            whole.set_title(panel.title, loc="left", fontsize=10)
            whole.set_xlim(0, 1.03)
            whole.set_ylim(0, 1.03)
            corner.set_title("the same, enlarged", loc="left", fontsize=10)
            corner.set_xlim(*_span([float(shipped.recall[-1]) for shipped in panel.shipped.values() if len(shipped.recall)]))
            corner.set_ylim(*_span([float(shipped.precision[-1]) for shipped in panel.shipped.values() if len(shipped.recall)]))
        handles = figure.axes[0].get_legend_handles_labels()[0]
        labels = [name if shipped is None else f"{name} (at {shipped:g})" for name, shipped in thresholds.items()]
        figure.legend(handles, labels, loc="lower left", bbox_to_anchor=(0.03, 0.01), ncols=len(labels), columnspacing=1.6)


def _draw(axes: "Axes", panel: Panel, names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        colour, mark = SERIES[index % len(SERIES)], MARKS[index % len(MARKS)]
        drawn, shipped = panel.curves[name], panel.shipped[name]
        axes.plot(drawn.recall, drawn.precision, color=colour, linewidth=1.5, marker=mark, markevery=[], label=name)
        if len(shipped.scores):
            axes.plot(shipped.recall[-1:], shipped.precision[-1:], marker=mark, markersize=11, markerfacecolor="none", color=colour)
    axes.set_xlabel("recall (annotated faces found at IoU 0.5)")
    axes.set_ylabel("precision (boxes that are not false)")
    axes.xaxis.set_major_formatter(percent)
    axes.yaxis.set_major_formatter(percent)


def _span(shipped: Sequence[float]) -> tuple[float, float]:
    """The part of an axis that the marks of all but far-off detectors lie in, with room around."""
    usual = float(np.median(shipped)) if shipped else 1.0
    low = min((value for value in shipped if value > usual - 0.25), default=usual)
    return max(0.0, low - 0.05), min(1.0, max(shipped, default=1.0) + 0.05) + 0.005
