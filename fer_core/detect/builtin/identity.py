"""What names the results of the built-in detector. Light: a run is planned without loading the network."""

from pathlib import Path
from typing import Final

from fer_core.detect.builtin.weights import SHIPPED, read_detector
from fer_core.hashing import file_sha256

SCORE_THRESHOLD: Final = 0.63
LARGEST_SIDE: Final = 4096
"""Longest side of the finest pyramid level."""
REVISION: Final = 2
"""Incremented with every change of a rule or constant of the detector or the pyramid that changes results."""


def identity_of(file: Path, score_threshold: float = SCORE_THRESHOLD, largest_side: int = LARGEST_SIDE) -> str:
    """The identity of a `BuiltinDetector`."""
    return f"builtin-{file_sha256(file)[:12]}-t{score_threshold:g}-s{largest_side}-r{REVISION}"


def shipped_identity() -> str:
    """The identity of the detector that comes with ferflow. DetectorError: its file is missing or damaged."""
    read_detector(SHIPPED)
    return identity_of(SHIPPED)
