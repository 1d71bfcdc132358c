"""Figures by slice as lines of text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fer_core.evaluation.slices import SliceFigures


def slice_lines(slices: "Sequence[SliceFigures]") -> list[str]:
    """A table with one part a line, each figure with its interval."""
    width = max((len(f"{part.by}: {part.slice}") for part in slices), default=0)
    lines = [f"{'':{width}}  faces  {'share':>20}  {'accuracy':>20}  {'balanced':>20}  {'ECE':>20}"]
    for part in slices:
        cells = []
        for name, form in (("share", ".1%"), ("accuracy", ".1%"), ("balanced_accuracy", ".1%"), ("ece", ".3f")):
            low, high = part.intervals[name]
            cells.append(f"{f'{getattr(part, name):{form}} ({low:{form}}-{high:{form}})':>20}")
        lines.append(f"{f'{part.by}: {part.slice}':{width}}  {part.faces:5d}  {'  '.join(cells)}")
    return lines
