"""Plots of the page of speed, as far as their figures are there."""

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.common.speed_goals import Figures
from fer_core.evaluation.plots.paper import MARKS, SERIES, SOFT, heading, inches, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOTS = {
    "ratios": "How many times as fast ferflow is, by what it is compared with",
    "stages": "Share of its limit that each stage reaches",
    "costs": "Images a second and memory by number of pictures, faces in them and their size",
}
"""Names of the plots, and their alternative texts."""


def drawn(figures: Figures, folder: Path) -> dict[str, Path]:
    """`speed-NAME.png` for each plot that has figures."""
    rows = {"ratios": ratios(figures), "stages": stages(figures)}
    files = {}
    titles = {
        "ratios": ("Against other software", "times as fast, whole job, once started"),
        "stages": ("Stage by stage", "share of the limit"),
    }
    for name, bars in rows.items():
        if bars:
            files[name] = folder / f"speed-{name}.png"
            _bars(files[name], *titles[name], bars)
    if figures.get("cost_curves", {}).get("curves"):
        files["costs"] = folder / "speed-costs.png"
        _costs(files["costs"], figures["cost_curves"]["curves"])
    return files


def ratios(figures: Figures) -> dict[str, float]:
    """Each from its own run."""
    found = {}
    for name, label in (("against_script", "obvious script"), ("against_script_generated", "obvious script, composed pictures")):
        known = [one["ratio"] for one in figures.get(name, {}).get("rounds", []) if one["ratio"]]
        if known:
            found[label] = float(median(known))
    if "insightface" in figures:
        figure = figures["insightface"]
        for name, one in figure["scripts"].items():
            found[f"insightface, {name}"] = figure["job"]["steady_images_per_second"] * one["seconds"] / one["images"]
    if "fer" in figures:
        figure = figures["fer"]
        found["fer"] = figure["job"]["steady_images_per_second"] * figure["fer"]["seconds"] / figure["fer"]["images"]
    return found


def stages(figures: Figures) -> dict[str, float]:
    """Shares, those of relabelling and training among them."""
    found = {
        name: figures["stage_limits"][name]["share"] for name in ("decode", "network", "detector", "write") if "stage_limits" in figures
    }
    if "relabel_rate" in figures:
        found["relabelling"] = float(median(one["share"] for one in figures["relabel_rate"]["rounds"]))
    for name, one in figures.get("training_rate", {}).get("models", {}).items():
        found[f"training, {name}"] = one["share"]
    return found


def _bars(file: Path, title: str, line: str, bars: dict[str, float]) -> None:
    with sheet(file, 7.2, 1.5 + 0.36 * len(bars)) as figure:
        heading(figure, title, (line,))
        axes = figure.add_axes(inches(figure, 2.4, 0.45, 4.3, 0.36 * len(bars)))
        places = range(len(bars))
        axes.barh(places, list(bars.values()), height=0.6, color=SERIES[0])
        axes.set_yticks(places, list(bars))
        axes.invert_yaxis()
        axes.axvline(1, color=SOFT, linestyle=":", linewidth=1.2)
        axes.margins(x=0.12)
        plain = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        for place, value in zip(places, bars.values(), strict=True):
            axes.annotate(f"{value:.2f}", (value, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9, bbox=plain)


def _costs(file: Path, curves: dict[str, list[dict[str, Any]]]) -> None:
    """A column for each curve that has points."""
    axes_of = {"sizes": ("pictures", "images"), "faces": ("faces a picture", "faces_found"), "megapixels": ("megapixels", "megapixels")}
    known = [name for name in axes_of if curves.get(name)]
    with sheet(file, max(6.0, 0.6 + 3.2 * len(known)), 5.6) as figure:
        heading(figure, "Cost against size", ("above images a second once started, below MiB of the largest worker",))
        for column, name in enumerate(known):
            label, key = axes_of[name]
            for row, value in enumerate((_speed, _memory)):
                axes = figure.add_axes(inches(figure, 0.75 + 3.2 * column, 2.95 - 2.35 * row, 2.55, 1.75))
                _curve(axes, [point[key] for point in curves[name]], [value(point) for point in curves[name]], column)
                if row:
                    axes.set_xlabel(label)


def _speed(point: dict[str, Any]) -> float:
    return float(point["steady_images_per_second"])


def _memory(point: dict[str, Any]) -> float:
    return float(point["worker_peak_bytes"] / 2**20)


def _curve(axes: "Axes", across: list[float], up: list[float], number: int) -> None:
    axes.plot(across, up, color=SERIES[number], marker=MARKS[number])
    if min(across) > 0:
        axes.set_xscale("log")
    else:
        axes.set_xscale("symlog", linthresh=1)
    axes.set_xticks(across, [f"{place:,.3g}" if place < 1000 else f"{place:,.0f}" for place in across])
    axes.minorticks_off()
    axes.set_ylim(0, 1.12 * max(up))
    axes.margins(x=0.08)


__all__ = ["PLOTS", "drawn", "ratios", "stages"]
