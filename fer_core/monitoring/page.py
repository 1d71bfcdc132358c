"""The report as one HTML page that works offline: no script, nothing fetched. Names and faces only where its contents allow them."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from fer_core.gallery.label_placement import COLOURS
from fer_core.gallery.templates import templates
from fer_core.labels import EXPRESSIONS
from fer_core.monitoring.contents import Contents
from fer_core.monitoring.current_labels import CurrentLabels, Distribution
from fer_core.monitoring.drift import DRIFTED, MEASURES, STABLE, TOO_FEW, WATCHED, Limits
from fer_core.monitoring.nights import STATES, Nights
from fer_core.monitoring.pipelines import FIGURES
from fer_core.monitoring.plots import Columns, Series, ShareBar, Strip, columns, reliability_points, share_bar, shares_of, strip
from fer_core.monitoring.runs import RunFindings, newest_compared
from fer_core.monitoring.summary import sentences, tiles
from fer_core.outputs.mark import html_mark
from fer_core.review.verdicts import SPOKEN
from fer_core.tables.schema import IMAGE_STATUSES
from fer_core.text import visible
from fer_core.timing import STAGES

RUNS_SHOWN: Final = 60
"""The newest runs, and the newest days."""

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
_ACCENT, _SOFT, _WARN = "var(--accent)", "var(--quiet)", "var(--warn)"
_VERDICTS: Final = {STABLE: _ACCENT, WATCHED: _WARN, DRIFTED: "var(--drift)", TOO_FEW: _SOFT}
_STAGE_COLOURS: Final = ("#8a94a3", "#24a0d4", "#f6b54e", "#1d5fbf", "#3b6e42", "#924b7a", "#bf5e18")
"""Of `timing.STAGES`. Their names stand beside them."""


def write_page(url: str, runs: Sequence[RunFindings], limits: Limits, contents: Contents) -> str:
    """The whole page. url: of the labels root. runs: oldest first, at least one; the last `RUNS_SHOWN` are shown."""
    environment = templates("fer_core.monitoring")
    environment.filters.update(mean=_mean, visible=visible)
    shown, nights = runs[-RUNS_SHOWN:], contents.nights
    newest = nights.last(RUNS_SHOWN)
    return environment.get_template("page.html").render(
        url=url,
        limits=limits,
        mark=html_mark("report", contents.named),  # also of none: it may replace a page that is registered
        purposes=sorted(purpose for purpose, _ in contents.purposes if purpose),
        runs=runs,
        newest=newest_compared(runs),
        shown=shown[::-1],
        names={name: _NAMES[name] for name in MEASURES},
        statuses=IMAGE_STATUSES,
        contents=contents,
        nights=newest,
        all_nights=nights,
        tiles=tiles(runs, contents),
        sentences=sentences(runs, contents),
        expressions=COLOURS,
        by_night=_by_night(newest),
        folders=_folders(contents),
        confidence=_confidence(contents.labels),
        drift_strips=_strips(shown, limits),
        points=reliability_points(contents.reviewed.judged, contents.reviewed.right, contents.reviewed.confidence),
        quality=[_quality(_NAMES[name], found) for name, found in contents.labels.quality.items()],
        stages=_stages(nights),
        work=_work(newest),
        figures=tuple(FIGURES.values()),
        verdicts=SPOKEN,
    )


def _mean(value: float | None, measure: str) -> str:
    if value is None:
        return ""
    return f"{100 * value:.1f} %" if measure in ("needs_review", "no_face") else f"{value:.3g}"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _strips(runs: Sequence[RunFindings], limits: Limits) -> list[Strip]:
    """The index of each measure by run, full at twice the limit of drift."""
    rows = []
    for at, measure in enumerate(MEASURES):
        found = [(run, run.findings[at] if run.findings else None) for run in runs]
        values = [
            (f"{run.manifest.run_id}, {finding.verdict}", finding.psi, _VERDICTS[finding.verdict])
            if finding
            else (run.manifest.run_id, None, "")
            for run, finding in found
        ]
        last = next((finding.psi for _, finding in reversed(found) if finding and finding.psi is not None), None)
        rows.append(strip(_NAMES[measure], values, 2 * limits.drift, "" if last is None else f"{last:.3f}"))
    return rows


def _expressions(values: Sequence[np.ndarray]) -> list[Series]:
    return [Series(name, COLOURS[name], some) for name, some in zip(EXPRESSIONS, values, strict=True)]


def _by_night(nights: Nights) -> list[Columns]:
    """Images, shares of the labels, and shares that need review."""
    states = [Series(name, colour, some) for name, colour, some in zip(STATES, (_ACCENT, _SOFT, _WARN), nights.images.T, strict=True)]
    review = [Series("marked for review", _WARN, nights.review_share)]
    return [
        columns("Images processed by day", nights.days, states, _count),
        columns("Labels by expression and day", nights.days, _expressions(list(shares_of(nights.expressions).T)), _percent, 1.0),
        columns("Faces marked for review by day", nights.days, review, _percent),
    ]


def _work(nights: Nights) -> list[Columns]:
    """Throughput, and seconds of workers by stage."""
    busy = [
        Series(name, colour, some / 3600) for name, colour, some in zip(STAGES, _STAGE_COLOURS, nights.busy.T, strict=True) if some.any()
    ]
    return [
        columns("Images per second, from plan to commit", nights.days, [Series("images per second", _ACCENT, nights.rate)], _count),
        columns("Hours of workers by stage and day", nights.days, busy, lambda hours: f"{hours:,.3g} h"),
    ]


def _folders(contents: Contents) -> list[ShareBar]:
    """All faces first; folders by number unless the page may name them."""
    found = contents.labels.folders
    named = contents.disclosure.names
    names = [(visible(name) or "directly in it") if named else f"folder {number}" for number, name in enumerate(found.names, start=1)]
    counts, marked = [contents.labels.expressions.faces, *found.expressions], [contents.labels.review, *found.review.tolist()]
    rows = list(zip(["all folders", *names], counts, marked, strict=True))
    if found.others:
        rows.append((f"{found.others:,} more", found.others_expressions, found.others_review))
    return [share_bar(name, some, EXPRESSIONS, tuple(COLOURS.values()), _percent, part=review) for name, some, review in rows]


def _marked(found: Distribution) -> list[Series]:
    return [Series("not marked", _ACCENT, found.faces - found.review), Series("marked for review", _WARN, found.review)]


def _confidence(labels: CurrentLabels) -> Columns:
    return columns("Faces by confidence", labels.confidence.bins, _marked(labels.confidence), _count)


def _quality(name: str, found: Distribution) -> Columns:
    return columns(f"Faces by {name}", found.bins, _marked(found), _count)


def _stages(nights: Nights) -> list[Mapping[str, object]]:
    """Rows of the table of costs."""
    busy, cost = nights.busy.sum(axis=0), nights.cost
    total = float(busy.sum())
    rows = zip(STAGES, _STAGE_COLOURS, busy, cost, strict=True)
    return [
        {"name": name, "colour": colour, "hours": spent / 3600, "share": spent / total, "cost": each}
        for name, colour, spent, each in rows
        if spent > 0
    ]
