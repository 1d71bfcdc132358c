"""How wrong a model is on the part of the faces that it is surest of."""

from pathlib import Path

from fer_core.evaluation.evaluate import Evaluation
from fer_core.evaluation.plots.paper import LINE, SERIES, heading, inches, percent, sheet
from fer_core.evaluation.plots.scored import Scored


def risk_coverage_png(figures: Evaluation, scored: Scored, file: Path) -> None:
    """Draw the share of wrong labels against the part of the faces that is kept, surest first. See `paper.sheet` for errors."""
    curve = figures.risk_coverage
    with sheet(file, 6.6, 6.0) as figure:
        told = f"area under the curve (AURC) {figures.aurc:.3f}; {1 - figures.accuracy:.1%} of all labels are wrong"
        heading(figure, scored.title(), (scored.sample(figures), told))
        axes = figure.add_axes(inches(figure, 0.85, 0.7, 5.4, 4.0))
        axes.plot(curve.coverage, curve.risk, color=SERIES[0], label="surest faces first")
        axes.axhline(1 - figures.accuracy, color=LINE, linestyle=(0, (4, 3)), linewidth=1.4, label="in any order")
        axes.set(xlabel="coverage (faces kept)", ylabel="risk (wrong labels among them)", xlim=(0, 1), ylim=(0, None))
        axes.xaxis.set_major_formatter(percent)
        axes.yaxis.set_major_formatter(percent)
        axes.legend(loc="lower right")
