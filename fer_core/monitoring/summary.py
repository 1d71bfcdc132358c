"""The report in a few figures and sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

from fer_core.gallery.text import counted, percent
from fer_core.monitoring.contents import Contents
from fer_core.monitoring.drift import DRIFTED, TOO_FEW, WATCHED
from fer_core.monitoring.runs import RunFindings, newest_compared

CALM, LOOK, ACT = "calm", "look", "act"
"""How much a figure asks for: nothing, attention, or work."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure."""

    name: str
    value: str
    note: str
    state: str = CALM
    """`CALM`, `LOOK` or `ACT`; the note says why in words."""


def tiles(runs: Sequence[RunFindings], contents: Contents) -> list[Tile]:
    """runs: oldest first, at least one."""
    labels, quarantined, reviewed = contents.labels, contents.quarantined, contents.reviewed
    images = sum(quarantined.statuses.values())
    return [
        Tile("Faces", f"{labels.faces:,}", f"in {counted(images, 'image')}"),
        Tile("Most frequent", *_commonest(contents)),
        Tile("Marked for review", _share(labels.review, labels.faces), f"{reviewed.backlog:,} wait for a verdict"),
        Tile(
            "Reviewers agree",
            "not known" if reviewed.accuracy is None else percent(reviewed.accuracy),
            f"with that share of {counted(reviewed.compared, 'label')}" if reviewed.compared else "no label has been reviewed yet",
        ),
        Tile("Not processed", _share(quarantined.total, images), counted(quarantined.total, "image")),
        _drift(runs),
    ]


def sentences(runs: Sequence[RunFindings], contents: Contents) -> list[str]:
    """Plain text, the newest run first. Names no image."""
    newest, reviewed, quarantined = runs[-1], contents.reviewed, contents.quarantined
    processed = sum(newest.manifest.statuses.values())
    unchanged = newest.manifest.unchanged
    did = f"processed {counted(processed, 'image')} and labelled {counted(newest.manifest.faces, 'face')}"
    skipped = f"; {counted(unchanged, 'image')} had not changed" if unchanged else ""
    written = [f"The newest run, of {newest.manifest.run_date}, {did}{skipped}."]
    if reviewed.backlog:
        waiting = f"{counted(reviewed.backlog, 'label')} marked for review {_has(reviewed.backlog)} no verdict yet."
        pace = f" At the pace of the last four weeks of reviews ({reviewed.pace:,.0f} a week) that takes {_weeks(reviewed.weeks)}."
        written.append(waiting + pace if reviewed.pace else waiting)
    if reviewed.accuracy is not None and reviewed.ece is not None:
        agreed = f"Reviewers agree with {percent(reviewed.accuracy)} of {counted(reviewed.compared, 'label')}"
        written.append(f"{agreed}; confidence and agreement differ by {100 * reviewed.ece:.1f} points in the mean.")
    if quarantined.reasons:
        status, _, why = quarantined.reasons[0].partition(": ")
        share = quarantined.images[0] / max(1, quarantined.total)
        written.append(f"Most often, in {percent(share)} of the cases, an image was not processed because: {why or status}.")
    return written


def _commonest(contents: Contents) -> tuple[str, str]:
    found = contents.labels.expressions
    if not contents.labels.faces:
        return "none", "no face is labelled"
    at = int(found.faces.argmax())
    return found.bins[at], f"{_share(int(found.faces[at]), contents.labels.faces)} of the faces"


def _drift(runs: Sequence[RunFindings]) -> Tile:
    newest = newest_compared(runs)
    if newest is None:
        return Tile("Drift", "not judged", "no run to compare with a reference yet")
    verdicts = [finding.verdict for finding in newest.findings]
    day = f"run of {newest.manifest.run_date}"
    if DRIFTED in verdicts:
        return Tile("Drift", "drift", f"{verdicts.count(DRIFTED)} of {len(verdicts)} measures, {day}", ACT)
    if WATCHED in verdicts:
        return Tile("Drift", "watch", f"{verdicts.count(WATCHED)} of {len(verdicts)} measures, {day}", LOOK)
    if set(verdicts) == {TOO_FEW}:
        return Tile("Drift", "not judged", f"too few faces, {day}")
    return Tile("Drift", "stable", day)


def _share(part: int, whole: int) -> str:
    return percent(part / whole) if whole else "none"


def _has(count: int) -> str:
    return "has" if count == 1 else "have"


def _weeks(weeks: float | None) -> str:
    return counted(max(1, round(weeks or 0)), "week")
