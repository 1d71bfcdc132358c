"""What is told about a committed run."""

from dataclasses import dataclass

from fer_core.manifest import Manifest
from fer_core.schema import QUARANTINE


@dataclass(frozen=True, slots=True)
class Summary:
    """A committed run and how it went."""

    manifest: Manifest
    manifest_url: str
    resumed: int
    """Images that an earlier attempt had finished."""
    ready_at: float
    """Seconds since the epoch: when the first shard could start."""
    committed_at: float
    """Seconds since the epoch."""

    @property
    def images(self) -> int:
        """Looked at in this run, earlier attempts included."""
        return sum(self.manifest.statuses.values())

    @property
    def quarantined_percent(self) -> float:
        """Of the images looked at."""
        return 100.0 * sum(self.manifest.statuses.get(status, 0) for status in QUARANTINE) / max(self.images, 1)

    @property
    def images_per_second(self) -> float:
        """Of this attempt, from the first shard to the commit."""
        return (self.images - self.resumed) / max(self.committed_at - self.ready_at, 1e-9)


def share(manifest: Manifest) -> str:
    """One line."""
    images = sum(manifest.statuses.values())
    return f"{images:,} images looked at, {manifest.faces:,} faces labelled, {manifest.unchanged:,} images unchanged"


def markdown(summary: Summary) -> str:
    """The summary artifact. Names no image and no credentials."""
    manifest = summary.manifest
    lines = [f"# {manifest.run_id}", "", share(manifest) + f", {summary.images_per_second:.1f} images/s once started.", ""]
    lines += _table("images", {status: count for status, count in manifest.statuses.items() if count})
    lines += _table("faces", {name: count for name, count in manifest.expressions.items() if count})
    busy = sum(manifest.seconds.values())
    lines += ["| busy seconds | | share |", "|---|---:|---:|"]
    lines += [f"| {stage} | {seconds:.2f} | {100 * seconds / busy if busy else 0:.0f} % |" for stage, seconds in manifest.seconds.items()]
    lines += ["", f"Detector `{manifest.detector}`, model `{manifest.model_name}`, pipeline `{manifest.pipeline_digest[:12]}`.", ""]
    lines += [f"Manifest: `{summary.manifest_url}`"]
    return "\n".join(lines)


def _table(what: str, counts: dict[str, int]) -> list[str]:
    total = sum(counts.values())
    rows = [f"| {name.replace('_', ' ')} | {count:,} | {100 * count / total:.1f} % |" for name, count in counts.items()]
    return [f"| {what} | | share |", "|---|---:|---:|", *rows, ""] if rows else []
