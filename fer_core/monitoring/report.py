"""A root's report: its runs judged, as a page and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fer_core.errors import UsageError
from fer_core.monitoring.disclosure import Disclosure
from fer_core.monitoring.drift import Limits, drifted
from fer_core.monitoring.runs import RunFindings, choose_reference, history, newest_compared
from fer_core.outputs.registry import register_output
from fer_core.storage.output_place import refuse_inside
from fer_core.storage.store import Store, open_store


@dataclass(frozen=True, slots=True)
class Report:
    """All runs of a root, judged."""

    root: str
    """Its URL."""
    runs: Sequence[RunFindings]
    """Oldest first."""
    limits: Limits

    @property
    def newest(self) -> RunFindings | None:
        """The newest run that was compared with a reference."""
        return newest_compared(self.runs)

    @property
    def drifted(self) -> tuple[str, ...]:
        """Measures of the newest run that have drifted, the furthest first."""
        return () if self.newest is None else drifted(self.newest.findings)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        newest = self.newest
        return {
            "root": self.root,
            "runs": len(self.runs),
            "faces": sum(run.profile.faces for run in self.runs),
            "limits": {"watch": self.limits.watch, "drift": self.limits.drift, "faces": self.limits.enough},
            "run_id": None if newest is None else newest.manifest.run_id,
            "model": None if newest is None else {"name": newest.manifest.model_name, "digest": newest.manifest.model_digest},
            "reference": None if newest is None or newest.reference is None else list(newest.reference.runs),
            "drifted": list(self.drifted),
            "measures": [] if newest is None else [describe_measure(newest, index) for index in range(len(newest.findings))],
        }


def describe_measure(run: RunFindings, index: int) -> dict[str, Any]:
    """One finding as JSON."""
    found = run.findings[index]
    values = {"psi": found.psi, "by_chance": found.by_chance, "reference": found.reference, "now": found.now}
    rounded = {name: None if value is None else round(value, 6) for name, value in values.items()}
    return {"measure": found.measure, "verdict": found.verdict, **rounded}


def report_on(store: Store, limits: Limits | None = None, reference_run: str | None = None) -> Report:
    """Judge every run. reference_run: becomes the reference of its model first. CommitError: see `runs.history`."""
    if reference_run is not None:
        choose_reference(store, reference_run)
    limits = limits or Limits()
    return Report(store.url(), history(store, limits), limits)


def write_report(report: Report, file: str, disclosure: Disclosure | None = None) -> str:
    """Write the page to a local path or an object store, replacing what is there; returns where it lies. UsageError inside the root.

    disclosure: what it may show of persons, by default nothing. CommitError: a part is missing or damaged; ReviewError: reviews are.
    """
    folder, _, name = file.rpartition("/")
    if not name:
        raise UsageError(f"the report needs a file name: {file!r}")
    target = open_store(folder or ("/" if file.startswith("/") else "."))
    root = open_store(report.root)
    refuse_inside(target, root, f"the report {file} would lie")
    # these load what draws and queries; a night that compares runs writes no page
    from fer_core.monitoring.contents import read_contents
    from fer_core.monitoring.page import write_page

    contents = read_contents(root, report.runs, disclosure or Disclosure())
    if contents.disclosure.personal:
        register_output(root, target.url(name), "report")
    target.write_bytes(name, write_page(report.root, report.runs, report.limits, contents).encode(errors="backslashreplace"))
    return target.url(name)
