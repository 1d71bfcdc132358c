"""What is told about drift in a few lines."""

from fer_core.drift_report import Report


def headline(report: Report) -> str:
    """One line."""
    newest = report.newest
    if newest is None:
        return f"no run to compare yet: one of at least {report.limits.enough:,} faces becomes the reference of its model"
    run = f"run {newest.manifest.run_id}"
    if report.drifted:
        return f"{run} has drifted: {', '.join(report.drifted)}"
    few = all(finding.verdict == "too few" for finding in newest.findings)
    return f"{run} is too small to be judged ({newest.profile.faces:,} faces)" if few else f"{run} has not drifted"


def markdown(report: Report) -> str:
    """The drift table of the newest run. Names no image and no credentials."""
    lines = [f"# Drift of `{report.root}`", "", f"{headline(report)}.", ""]
    newest = report.newest
    if newest is None or newest.reference is None:
        return "\n".join(lines)
    lines += [f"Model `{newest.manifest.model_name}`, against {', '.join(f'`{run}`' for run in newest.reference.runs)}.", ""]
    lines += ["| | reference | now | index | by chance | verdict |", "|---|---:|---:|---:|---:|---|"]
    for found in newest.findings:
        values = ("" if value is None else f"{value:.3g}" for value in (found.reference, found.now, found.psi, found.by_chance))
        lines.append(f"| {found.measure} | {' | '.join(values)} | {found.verdict} |")
    return "\n".join(lines)
