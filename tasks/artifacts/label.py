"""Summary of a committed run."""

from dataclasses import dataclass

from fer_core.commit.manifest import Manifest
from fer_core.tables.schema import QUARANTINE
from tasks.artifacts.markdown import Markdown, code, lines


@dataclass(frozen=True, slots=True)
class Summary:
    """A committed run with its times."""

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
        """Processed in this run, earlier attempts included."""
        return sum(self.manifest.statuses.values())

    @property
    def quarantined_percent(self) -> float:
        """Of the images listed, without those that an earlier run could not process either: most are tried again every night."""
        quarantined = sum(self.manifest.statuses.get(status, 0) for status in QUARANTINE)
        return 100.0 * (quarantined - self.manifest.failed_again) / max(self.manifest.listed, 1)

    @property
    def images_per_second(self) -> float:
        """Of this attempt, from the first shard to the commit."""
        return (self.images - self.resumed) / max(self.committed_at - self.ready_at, 1e-9)


def share(manifest: Manifest) -> str:
    """One line."""
    images = sum(manifest.statuses.values())
    return f"{images:,} images processed, {manifest.faces:,} faces labelled, {manifest.unchanged:,} images unchanged"


def markdown(summary: Summary) -> Markdown:
    """The summary artifact. Names no image and no credentials."""
    manifest = summary.manifest
    busy = sum(manifest.seconds.values())
    told = Markdown("Detector {}, model {}, pipeline {}.")
    return lines(
        Markdown("# {}\n").format(manifest.run_id),
        Markdown("{}, {:.1f} images/s once started.\n").format(share(manifest), summary.images_per_second),
        _table("images", {status: count for status, count in manifest.statuses.items() if count}),
        _reasons(manifest),
        _table("faces", {name: count for name, count in manifest.expressions.items() if count}),
        _head("busy seconds"),
        [
            Markdown("| {} | {:.2f} | {:.0f} % |").format(stage, seconds, 100 * seconds / busy if busy else 0)
            for stage, seconds in manifest.seconds.items()
        ],
        Markdown(),
        told.format(code(manifest.detector), code(manifest.model_name), code(manifest.pipeline_digest[:12])),
        Markdown("\nManifest: {}").format(code(summary.manifest_url)),
    )


def _table(what: str, counts: dict[str, int]) -> list[Markdown]:
    total = sum(counts.values())
    row = Markdown("| {} | {:,} | {:.1f} % |")
    rows = [row.format(name.replace("_", " "), count, 100 * count / total) for name, count in counts.items()]
    return [_head(what), *rows, Markdown()] if rows else []


def _reasons(manifest: Manifest) -> list[Markdown]:
    """What was ignored or excluded, and why images were quarantined."""
    beside = {**manifest.ignored, "excluded": manifest.excluded}
    counts = [*manifest.reasons.items(), *((f"not listed: {kind}", count) for kind, count in beside.items() if count)]
    rows = [Markdown("| {} | {:,} |").format(what.replace("_", " "), count) for what, count in counts]
    return [Markdown("| reasons | |\n|---|---:|"), *rows, Markdown()] if rows else []


def _head(what: str) -> Markdown:
    return Markdown("| {} | | share |\n|---|---:|---:|").format(what)
