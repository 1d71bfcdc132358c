"""The report as one HTML page: runs, counts, shares of labels, drift. No face and no picture's name, no script, nothing fetched."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from fer_core.evaluation.plots.shares import shares_png
from fer_core.gallery.label_placement import COLOURS
from fer_core.gallery.templates import data_uri, templates
from fer_core.labels import EXPRESSIONS
from fer_core.monitoring.drift import MEASURES, Limits
from fer_core.monitoring.runs import RunFindings, newest_compared
from fer_core.tables.schema import IMAGE_STATUSES

RUNS_SHOWN: Final = 60

_NAMES: Final = {
    "expression": "labels by expression",
    "confidence": "confidence",
    "needs_review": "needs review",
    "face_size_px": "face size, px",
    "sharpness": "sharpness",
    "yaw_deg": "yaw, degrees",
    "pitch_deg": "pitch, degrees",
    "detection_score": "detection score",
    "no_face": "images without a face",
}


def write_page(url: str, runs: Sequence[RunFindings], limits: Limits) -> str:
    """The whole page. url: of the labels root. runs: oldest first, at least one; the last `RUNS_SHOWN` are shown."""
    environment = templates("fer_core.monitoring")
    environment.filters["mean"] = _mean
    shown = runs[-RUNS_SHOWN:]
    return environment.get_template("page.html").render(
        url=url,
        limits=limits,
        purposes=sorted({run.manifest.purpose for run in runs} - {""}),
        runs=runs,
        newest=newest_compared(runs),
        shown=shown[::-1],
        shares=_shares(shown),
        names={name: _NAMES[name] for name in MEASURES},
        expressions=EXPRESSIONS,
        statuses=IMAGE_STATUSES,
        images=sum(sum(run.manifest.statuses.values()) for run in runs),
    )


def _mean(value: float | None, measure: str) -> str:
    if value is None:
        return ""
    return f"{100 * value:.1f} %" if measure in ("needs_review", "no_face") else f"{value:.3g}"


def _shares(runs: Sequence[RunFindings]) -> str:
    """The plot as a data URI."""
    with TemporaryDirectory(prefix="ferflow-report-") as folder:
        file = Path(folder) / "shares.png"
        shares_png([(run.manifest.run_id, run.profile.counts["expression"]) for run in runs], file, COLOURS)
        return data_uri(file.read_bytes(), "png")
