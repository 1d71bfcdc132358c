"""Accuracy and speed of each detector: the table of docs/benchmarks/index.md (`benchmarks/detector/compare.py`), for the choice of one."""

from dataclasses import dataclass
from typing import Final

WHERE: Final = "docs/benchmarks/index.md: shares of annotated faces found; images a second at 640 px on one thread of an AMD EPYC"


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of the table."""

    variant: str
    """Which file or pack was measured; empty where there is but one."""
    recall_20px: float
    """Share found of the faces whose shorter side is at least 20 px, on eleven photographs of crowds and meetings."""
    recall_40px: float
    """The same from 40 px."""
    recall_afw: float
    """Share found of AFW's 221 faces, snapshots mostly."""
    images_per_second: float
    """One thread, without decoding."""


MEASURED: Final[dict[str, tuple[Measured, ...]]] = {
    "builtin": (Measured("", 0.69, 0.67, 0.941, 77.0),),
    "yunet": (Measured("", 0.87, 0.87, 0.995, 18.7),),
    "scrfd:FILE": (Measured("500M", 0.85, 0.87, 1.00, 11.6), Measured("2.5G", 0.89, 0.87, 1.00, 2.8)),
    "insightface:PACK": (),
}
"""By the spec as `ferflow detectors list` writes it. The packs' detectors are SCRFD networks; those of other sizes were not measured."""
