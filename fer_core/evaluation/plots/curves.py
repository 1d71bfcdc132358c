"""Curves of a training run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fer_core.errors import TrainingError
from fer_core.evaluation.plots.paper import INK, LINE, MARKS, SERIES, SOFT, heading, inches, percent, printed, sheet
from fer_core.evaluation.training_history import EpochRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def curves_png(history: Sequence[EpochRecord], file: Path, title: str = "", best: int | None = None) -> None:
    """Draw losses with the learning rate, and accuracy with macro F1 on the held-back faces.

    best: the epoch to mark; None is the first of the largest accuracy. No epoch at all is a TrainingError; see `paper.sheet` for others.
    """
    if not history:
        raise TrainingError("there is no epoch to draw")
    chosen = _chosen(history, best)
    minutes = sum(record.seconds for record in history) / 60
    count = "1 epoch" if len(history) == 1 else f"{len(history)} epochs"
    with sheet(file, 11.2, 4.7) as figure:
        told = f"{count} in {minutes:.0f} min; best epoch {chosen.epoch}: held-back accuracy {chosen.dev_accuracy:.2%}"
        heading(figure, printed(title, 80) or "Training", (f"{told}, macro F1 {chosen.dev_macro_f1:.3f}",))
        losses = figure.add_axes(inches(figure, 0.75, 0.65, 4.25, 2.95))
        scores = figure.add_axes(inches(figure, 6.65, 0.65, 4.25, 2.95))
        _losses(losses, history)
        _scores(scores, history, chosen)


def _chosen(history: Sequence[EpochRecord], best: int | None) -> EpochRecord:
    named = [record for record in history if record.epoch == best]
    return named[0] if named else max(history, key=lambda record: record.dev_accuracy)


def _losses(axes: "Axes", history: Sequence[EpochRecord]) -> None:
    epochs = [record.epoch for record in history]
    beside = axes.twinx()
    beside.plot(epochs, [record.learning_rate for record in history], color=SOFT, linewidth=0.9, label="learning rate")
    beside.set_ylim(0, 1.05 * max(*(record.learning_rate for record in history), 1e-9))
    beside.set_ylabel("learning rate", color=SOFT)
    beside.tick_params(labelcolor=SOFT)
    beside.grid(False)
    beside.spines["right"].set_visible(True)
    axes.plot(epochs, [record.train_loss for record in history], color=SERIES[0], marker=MARKS[0], label="training loss")
    axes.plot(epochs, [record.dev_loss for record in history], color=SERIES[1], marker=MARKS[1], label="held-back log loss")
    axes.set_zorder(beside.get_zorder() + 1)  # the thin line stays behind
    axes.patch.set_visible(False)
    axes.set_ylabel("loss")
    lines = [*axes.get_lines(), *beside.get_lines()]
    _frame(axes, epochs, lines)


def _scores(axes: "Axes", history: Sequence[EpochRecord], chosen: EpochRecord) -> None:
    epochs = [record.epoch for record in history]
    axes.axvline(chosen.epoch, color=LINE, linestyle=(0, (4, 3)), linewidth=1.4, label=f"best epoch ({chosen.epoch})")
    axes.plot(epochs, [record.dev_accuracy for record in history], color=SERIES[0], marker=MARKS[0], label="accuracy")
    axes.plot(epochs, [record.dev_macro_f1 for record in history], color=SERIES[2], marker=MARKS[2], label="macro F1")
    for value, colour in ((chosen.dev_accuracy, SERIES[0]), (chosen.dev_macro_f1, SERIES[2])):
        axes.plot([chosen.epoch], [value], marker="o", markersize=11, markerfacecolor="none", markeredgecolor=colour)
    axes.set_ylabel("held-back faces")
    axes.yaxis.set_major_formatter(percent)
    lines = axes.get_lines()
    _frame(axes, epochs, [lines[1], lines[2], lines[0]])


def _frame(axes: "Axes", epochs: Sequence[int], lines: Sequence[object]) -> None:
    """Whole epochs below, a legend above."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch", color=INK)
    axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(
        handles=list(lines), loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, borderaxespad=0.2, columnspacing=1.4, handlelength=1.6
    )
