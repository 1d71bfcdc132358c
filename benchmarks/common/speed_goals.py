"""What the project wants of its speed, beside what was measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

MISSING = "not measured"

Figures = Mapping[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table."""

    what: str
    floor: str
    goal: str
    name: str
    """Of the figures it is read from."""
    measured: Callable[[dict[str, Any]], float | None]
    told: str
    """Format of the figure."""
    least: float | None
    """The floor, where it is a number; a figure is better the larger it is, or the smaller it is where `smaller`."""
    best: float | None
    """The goal, where it is a number."""
    smaller: bool = False


def _ratio(figure: dict[str, Any]) -> float | None:
    ratios = [one["ratio"] for one in figure["rounds"] if one["ratio"]]
    return median(ratios) if ratios else None


def _speed(figure: dict[str, Any]) -> float:
    return float(median(one["images_per_second"]["ferflow"] for one in figure["rounds"]))


def _over_alone(figure: dict[str, Any]) -> float | None:
    return figure["alone"]["decode and detect"] / _speed(figure) if "alone" in figure else None


def _median(key: str) -> Callable[[dict[str, Any]], float]:
    return lambda figure: float(median(one[key] for one in figure["rounds"]))


GOALS = (
    Goal("2 cores, photographs, whole job, times the obvious script", "1.5", "3", "against_script", _ratio, "{:.2f}", 1.5, 3),
    Goal(
        "the same, decoding and detection alone over it", "", "within 1.3", "against_script", _over_alone, "{:.2f}", None, 1.3, smaller=True
    ),
    Goal("the same, images/s", "40", "120", "against_script", _speed, "{:.1f}", 40, 120),
    Goal("0.7 megapixels, whole job, times decoding and YuNet at 640 px", "1", "1.6", "against_detection", _ratio, "{:.2f}", 1, 1.6),
    Goal(
        "12 megapixels, whole job, times decoding in full and YuNet at 1280 px",
        "2",
        "4",
        "against_detection_as_they_are",
        _ratio,
        "{:.2f}",
        2,
        4,
    ),
    Goal("1 worker on one core to 2 on two, times as fast", "1.8", "", "workers_speedup", _median("speedup"), "{:.2f}", 1.8, None),
    Goal("relabelling from crops, 2 cores, faces/s", "300", "", "relabel_rate", _median("faces_per_second"), "{:.0f}", 300, None),
    Goal("the same, share of decoding crops and the network alone", "", "1", "relabel_rate", _median("share"), "{:.2f}", None, 1),
    Goal(
        "same expression as the sequential path, share of faces",
        "0.995",
        "",
        "label_equality",
        lambda f: f["same_expression"],
        "{:.4f}",
        0.995,
        None,
    ),
    Goal(
        "confidence apart from it, largest",
        "0.01",
        "",
        "label_equality",
        lambda f: f["confidence_apart_largest"],
        "{:.4f}",
        0.01,
        None,
        smaller=True,
    ),
)


def goals(figures: Figures) -> list[str]:
    """A Markdown table."""
    lines = ["| | floor | goal | measured | |", "|---|---:|---:|---:|---|"]
    for goal in GOALS:
        value = goal.measured(figures[goal.name]) if goal.name in figures else None
        said = (MISSING, "") if value is None else (goal.told.format(value), verdict(goal, value))
        lines.append(f"| {goal.what} | {goal.floor} | {goal.goal} | {said[0]} | {said[1]} |")
    page = "[gpu.md](../explanation/gpu.md)"
    measured = f"see {page}" if "gpu" in figures else MISSING
    lines.append(f"| one H200 and 16 cores: whole job, network, detector | {page} | {page} | {measured} | |")
    return lines


def verdict(goal: Goal, value: float) -> str:
    """In words, whether floor and goal are kept."""

    def kept(bound: float) -> bool:
        return value <= bound if goal.smaller else value >= bound

    if goal.best is not None and kept(goal.best):
        return "goal reached"
    if goal.least is None:
        return "goal missed"
    if not kept(goal.least):
        return "floor missed"
    return "floor kept" if goal.best is None else "floor kept, goal missed"
