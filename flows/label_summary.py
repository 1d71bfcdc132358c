"""The output of `ferflow label` about a run, as JSON and as text."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from fer_core.commit.manifest import Manifest
from fer_core.commit.publish import read_manifest, remove_staging
from fer_core.errors import StoreError
from fer_core.export.current_view import relation
from fer_core.storage.paths import manifest_file
from fer_core.storage.store import open_store
from tasks.artifacts.label import Summary

BAR: Final = 24
"""Characters of the longest bar."""
REASONS: Final = 3
"""Commonest reasons of quarantined images that are printed."""


def committed_summary(root: str, run_id: str) -> Summary:
    """The summary of a committed run. Removes what a kill at its end left in staging."""
    store = open_store(root)
    manifest = read_manifest(store, run_id)
    with suppress(StoreError):  # a root without write permission is enough for a summary
        remove_staging(store, run_id)
    now = time.time()
    return Summary(manifest, store.url(manifest_file(run_id)), sum(manifest.statuses.values()), now, now)


def as_json(summary: Summary, started_at: float) -> dict[str, object]:
    """The keys of the contract, and some more. started_at: when the command started, seconds since the epoch."""
    manifest, images = summary.manifest, summary.images - summary.resumed
    seconds = summary.committed_at - started_at
    return {
        "run_id": manifest.run_id,
        "run_date": manifest.run_date,
        "timezone": manifest.timezone,
        "images": manifest.statuses,
        "listed": manifest.listed,
        "unchanged": manifest.unchanged,
        "deleted": manifest.deleted,
        "excluded": manifest.excluded,
        "ignored": manifest.ignored,
        "denied": manifest.denied,
        "expired": manifest.expired,
        "faces": manifest.faces,
        "expressions": manifest.expressions,
        "seconds": round(seconds, 3),
        "startup_seconds": round(summary.ready_at - started_at, 3),
        "images_per_second": round(images / seconds, 3) if seconds > 0 else 0.0,
        "steady_images_per_second": round(summary.images_per_second, 3) if images else 0.0,
        "manifest": summary.manifest_url,
        "resumed": summary.resumed,
        "reused": manifest.reused,
        "failed_again": manifest.failed_again,
        "reasons": manifest.reasons,
        "detector": manifest.detector,
        "model": {"name": manifest.model_name, "digest": manifest.model_digest},
        "pipeline_digest": manifest.pipeline_digest,
        "stage_seconds": manifest.seconds,
    }


def as_text(summary: Summary, started_at: float, first_line: str) -> list[str]:
    """A table for people."""
    manifest, images = summary.manifest, summary.images - summary.resumed
    root = manifest.run_config().root.rstrip("/")
    lines = [first_line] if first_line else []
    lines.append(
        f"run {manifest.run_id}: {manifest.listed:,} images listed, {manifest.unchanged:,} unchanged, {summary.images:,} processed"
    )
    lines += unlisted_lines(manifest.excluded, manifest.ignored)
    lines += removed_lines(manifest.denied, manifest.expired)
    if not summary.images:
        lines.append("nothing was new")
    if manifest.reused:
        lines.append(
            f"{manifest.reused:,} of them have content that was labelled before, in an earlier run or under another name, and its labels"
        )
    if manifest.failed_again:
        lines.append(f"{manifest.failed_again:,} of them could not be processed in an earlier run either; --max-failed leaves them out")
    lines += ["", *_bars("images", manifest.statuses)] if summary.images else []
    lines += [f"  {count:,} {reason.replace('_', ' ')}" for reason, count in list(manifest.reasons.items())[:REASONS]]
    lines += ["", *_bars("faces", manifest.expressions)] if manifest.faces else []
    if images:
        seconds = summary.committed_at - started_at
        lines += [
            "",
            f"{seconds:.1f} s, of which {summary.ready_at - started_at:.1f} s to start; then {summary.images_per_second:.1f} images/s",
        ]
    lines += ["", f"detector  {detector_told(manifest)}", f"model     {model_told(manifest)}"]
    lines += [f"tables    {root}/labels  {root}/images", f"manifest  {summary.manifest_url}"]
    if manifest.faces:
        with suppress(StoreError):  # a path that is not UTF-8, which no SQL can name
            query = f"SELECT expression, count(*) FROM {relation(open_store(root), 'labels')} GROUP BY ALL ORDER BY 2 DESC"
            lines += ["", "Query them with DuckDB:", "  " + query]
    return lines


def unlisted_lines(excluded: int, ignored: Mapping[str, int]) -> list[str]:
    """What was found beside the images, a line each. ignored: by kind."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(ignored.items(), key=lambda item: (-item[1], item[0])))
    lines = [f"{sum(ignored.values()):,} files were ignored, which are no images by their names: {kinds}"] if kinds else []
    where = "links out of the source (see --follow-links), thumbnails and bins (see --no-default-excludes), --exclude, or system files"
    return lines + ([f"{excluded:,} folders and files were excluded: {where}"] if excluded else [])


def removed_lines(denied: int, expired: int) -> list[str]:
    """What is left out since it was removed from the root, a line each."""
    lines = [f"{denied:,} images were forgotten and are left out (see ferflow forget)"] if denied else []
    past = f"{expired:,} images are past the age of the root's policy, and have not changed (see ferflow policy)"
    return [*lines, past] if expired else lines


def max_failed_sentence(summary: Summary, max_failed: float | None) -> str | None:
    """Why the command fails although the run is committed; None when it does not."""
    percent = summary.quarantined_percent
    if max_failed is None or percent <= max_failed:
        return None
    return f"{percent:.1f} % of the images were quarantined, more than --max-failed {max_failed:g}; everything is committed"


def _bars(what: str, counts: dict[str, int]) -> list[str]:
    """Counts that are not zero, the largest first, as bars of their shares."""
    total, largest = sum(counts.values()), max(counts.values())
    rows = sorted(((name, count) for name, count in counts.items() if count), key=lambda row: -row[1])
    head = f"{what:<12}{total:>9,}"
    return [
        head,
        *(f"  {name.replace('_', ' '):<10}{n:>9,} {100 * n / total:5.1f} %  {_bar(n / largest)}" for name, n in rows),
    ]


def _bar(part: float) -> str:
    return "█" * max(1, round(BAR * part))


def detector_told(manifest: Manifest) -> str:
    """Its identity and, where it is not that of earlier releases, the smallest face."""
    smallest = manifest.run_config().min_face
    return manifest.detector + ("" if smallest is None else f", smallest face {smallest}{'' if smallest.endswith('%') else ' px'}")


def model_told(manifest: Manifest) -> str:
    """Name, digest and, where they are not those of earlier releases, prior and precision."""
    answering = manifest.run_config().answering
    told = f"{manifest.model_name} {manifest.model_digest[:12]}"
    told += f", prior {answering.prior}" if answering.prior != "training" else ""
    return told + (f", precision {answering.precision:g}" if answering.precision is not None else "")
