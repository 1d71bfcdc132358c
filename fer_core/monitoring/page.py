"""The report as one HTML page: runs, counts, shares of labels, drift. No face and no picture's name, no script, nothing fetched."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from markupsafe import Markup

from fer_core.evaluation.plots.shares import shares_png
from fer_core.gallery.label_placement import COLOURS
from fer_core.labels import EXPRESSIONS
from fer_core.monitoring.drift import DRIFTED, MEASURES, TOO_FEW, WATCHED, Finding, Limits
from fer_core.monitoring.runs import RunFindings
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
_STYLE: Final = """
:root { --ink: #1c2128; --soft: #5d6672; --line: #dcd9d2; --warn: #b3261e; --watch: #8a6d00; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2rem 1.5rem 3rem; font: 15px/1.5 system-ui, sans-serif; }
body { color: var(--ink); background: #fff; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .5rem; }
p { margin: .2rem 0 .6rem; max-width: 60rem; } .soft { color: var(--soft); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; }
th, td { padding: .28rem .7rem .28rem 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; } th:first-child, td:first-child { text-align: left; }
.drift { color: var(--warn); font-weight: 700; } .watch { color: var(--watch); font-weight: 600; } .few { color: var(--soft); }
img { width: 100%; height: auto; } code { font-size: .9em; }
"""


def write_page(url: str, runs: Sequence[RunFindings], limits: Limits) -> str:
    """The whole page. url: of the labels root. runs: oldest first, at least one; the last `RUNS_SHOWN` are shown."""
    shown = runs[-RUNS_SHOWN:]
    faces, images = sum(run.profile.faces for run in runs), sum(sum(run.manifest.statuses.values()) for run in runs)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>ferflow: report</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{_counted(len(runs), "run")}, {_counted(images, "image")} processed, {_counted(faces, "face")} labelled</h1>
<p class="soft">Labels root <code>{escape(url)}</code>. Labels name the apparent expression of a face, not what the person feels.</p>
<h2>Drift of the newest run</h2>
{_newest(runs, limits)}
<h2>Drift by run</h2>
<p class="soft">Population stability index of each run against the reference of its model; below {limits.watch:g} nothing has happened, from
{limits.drift:g} on the faces are others, beyond what samples of this size differ by chance. Runs of fewer than
{limits.enough:,} faces (or images, for those without a face) are told in grey and not judged.</p>
{_by_run(shown)}
<h2>Labels over time</h2>
<img alt="Shares of the eight expressions by run" src="{_shares(runs)}">
{_expressions(shown)}
<h2>Runs</h2>
{_runs(shown)}
</body>
</html>
"""


def newest_compared(runs: Sequence[RunFindings]) -> RunFindings | None:
    """The newest run that was compared with a reference; None where there is none."""
    return next((run for run in reversed(runs) if run.findings), None)


def _newest(runs: Sequence[RunFindings], limits: Limits) -> str:
    run = newest_compared(runs)
    if run is None or run.reference is None:
        what = f"a run of at least {limits.enough:,} faces becomes the reference of its model, and later ones are compared with it"
        return f"<p>Nothing to compare yet: {what}.</p>"
    rows = [
        (
            _NAMES[finding.measure],
            _value(finding.measure, finding.reference),
            _value(finding.measure, finding.now),
            _index(finding),
            "" if finding.by_chance is None else f"{finding.by_chance:.3f}",
            _marked(finding, finding.verdict),
        )
        for finding in run.findings
    ]
    lead = Markup("<p>Run {} against {}, both by model {}.</p>")
    table = _table(("", "reference", "this run", "index", "by chance", "verdict"), rows)
    return lead.format(_name(run), _code(", ".join(run.reference.runs)), _model(run)) + table


def _by_run(runs: Sequence[RunFindings]) -> str:
    head = ("run", "model", "faces", *(_NAMES[name] for name in MEASURES))
    return _table(head, [(_name(run), _model(run), f"{run.profile.faces:,}", *_indices(run)) for run in reversed(runs)])


def _indices(run: RunFindings) -> list[str]:
    if run.findings:
        return [_index(finding) for finding in run.findings]
    return ["reference" if run.is_reference else "", *[""] * (len(MEASURES) - 1)]


def _index(finding: Finding) -> str:
    return "" if finding.psi is None else _marked(finding, f"{finding.psi:.3f}")


def _marked(finding: Finding, text: str) -> Markup:
    return Markup('<span class="{}">{}</span>').format(_class(finding), text)


def _class(finding: Finding) -> str:
    return {DRIFTED: "drift", WATCHED: "watch", TOO_FEW: "few"}.get(finding.verdict, "ok")


def _value(measure: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{100 * value:.1f} %" if measure in ("needs_review", "no_face") else f"{value:.3g}"


def _expressions(runs: Sequence[RunFindings]) -> str:
    rows = []
    for run in reversed(runs):
        counts = run.profile.counts["expression"]
        shares = [f"{100 * count / run.profile.faces:.1f} %" if run.profile.faces else "" for count in counts]
        rows.append((_name(run), f"{run.profile.faces:,}", *shares))
    return _table(("run", "faces", *EXPRESSIONS), rows)


def _runs(runs: Sequence[RunFindings]) -> str:
    rows = [
        (
            _name(run),
            run.manifest.run_date,
            *(f"{run.manifest.statuses.get(status, 0):,}" for status in IMAGE_STATUSES),
            f"{run.manifest.unchanged:,}",
            f"{run.profile.faces:,}",
            _value("needs_review", run.profile.mean("needs_review")),
            _model(run),
            _code(run.manifest.detector),
        )
        for run in reversed(runs)
    ]
    statuses = [status.replace("_", " ") for status in IMAGE_STATUSES]
    return _table(("run", "day", *statuses, "unchanged", "faces", "needs review", "model", "detector"), rows)


def _name(run: RunFindings) -> Markup:
    return _code(run.manifest.run_id)


def _model(run: RunFindings) -> Markup:
    return Markup("{} {}").format(run.manifest.model_name, _code(run.manifest.model_digest[:12]))


def _code(text: str) -> Markup:
    return Markup("<code>{}</code>").format(text)


def _table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> Markup:
    """Cells are text, unless they are `Markup`."""
    lines = Markup().join(Markup("<tr>{}</tr>\n").format(Markup().join(Markup("<td>{}</td>").format(cell) for cell in row)) for row in rows)
    names = Markup().join(Markup("<th>{}</th>").format(name) for name in head)
    return Markup('<div class="scroll"><table><tr>{}</tr>\n{}</table></div>').format(names, lines)


def _shares(runs: Sequence[RunFindings]) -> str:
    """The plot as a data URI."""
    with TemporaryDirectory(prefix="ferflow-report-") as folder:
        file = Path(folder) / "shares.png"
        shares_png([(run.manifest.run_id, run.profile.counts["expression"]) for run in runs], file, COLOURS)
        return f"data:image/png;base64,{b64encode(file.read_bytes()).decode()}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
