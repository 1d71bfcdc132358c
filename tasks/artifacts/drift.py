"""Summary of drift in a few lines, with a picture of the labels by run."""

from pathlib import Path
from tempfile import TemporaryDirectory

from fer_core.evaluation.plots.shares import shares_png
from fer_core.gallery.label_placement import COLOURS
from fer_core.gallery.templates import data_uri
from fer_core.monitoring.report import Report
from tasks.artifacts.markdown import Markdown, code, lines


def headline(report: Report) -> str:
    """One line."""
    newest = report.newest
    if newest is None:
        return f"no run to compare yet: one of at least {report.limits.enough:,} faces becomes the reference of its model"
    run = f"run {newest.manifest.run_id}"
    if report.drifted:
        return f"{run} has drifted: {', '.join(report.drifted)}"
    few = all(finding.verdict == "too few" for finding in newest.findings)
    return f"{run} is too small for a verdict ({newest.profile.faces:,} faces)" if few else f"{run} has not drifted"


def markdown(report: Report, page: str) -> Markdown:
    """The drift table of the newest run, labels by run, and where the page lies. Names no image and no credentials."""
    written = [Markdown("# Drift of {}\n\n{}. The whole report: {}\n").format(code(report.root), headline(report), code(page))]
    written += [Markdown("![Shares of the eight expressions by run]({})\n").format(Markdown(picture(report)))]
    newest = report.newest
    if newest is None or newest.reference is None:
        return lines(written)
    against = Markdown(", ").join(code(run) for run in newest.reference.runs)
    written += [Markdown("Model {}, against {}.\n").format(code(newest.manifest.model_name), against)]
    written += [Markdown("| | reference | now | index | by chance | verdict |\n|---|---:|---:|---:|---:|---|")]
    for found in newest.findings:
        values = ("" if value is None else f"{value:.3g}" for value in (found.reference, found.now, found.psi, found.by_chance))
        written.append(Markdown("| {} | {} | {} |").format(found.measure, Markdown(" | ").join(values), found.verdict))
    return lines(written)


def picture(report: Report) -> str:
    """Shares of the eight expressions by run as a data URI, which Prefect's UI draws."""
    with TemporaryDirectory(prefix="ferflow-report-") as folder:
        file = Path(folder) / "shares.png"
        shares_png([(run.manifest.run_id, run.profile.counts["expression"]) for run in report.runs], file, COLOURS)
        return data_uri(file.read_bytes(), "png")
