"""What is told about a committed relabelling."""

from dataclasses import dataclass
from typing import Final

from fer_core.labels import EXPRESSIONS
from fer_core.relabel_changes import Changes
from tasks.summary import Summary

MOVES: Final = 10
"""Changes of label that are named one by one."""


@dataclass(frozen=True, slots=True)
class RelabelSummary:
    """A committed relabelling, how it went and what it changed."""

    run: Summary
    changes: Changes


def headline(changes: Changes) -> str:
    """One line."""
    if not changes.faces:
        return "no face has another label to be compared with"
    return f"{changes.changed:,} of {changes.faces:,} faces ({100 * changes.share_changed:.1f} %) have another expression now"


def markdown(summary: RelabelSummary) -> str:
    """The summary artifact. Names no image and no credentials."""
    manifest, changes = summary.run.manifest, summary.changes
    lines = [f"# {manifest.run_id}", "", f"{headline(changes)}.", ""]
    lines += [f"Model `{manifest.model_name}` `{manifest.model_digest[:12]}`, {manifest.faces:,} faces, {summary.run.images:,} images.", ""]
    lines += ["| | before | after |", "|---|---:|---:|"]
    lines += [f"| mean confidence | {changes.confidence_before:.3f} | {changes.confidence_after:.3f} |"]
    lines += [f"| needs review | {changes.review_before:,} | {changes.review_after:,} |", ""]
    if changes.without_crops:
        lines += [f"{changes.without_crops:,} images keep their labels: the crops of their faces were not kept.", ""]
    lines += [f"| before \\ after | {' | '.join(EXPRESSIONS)} |", f"|---|{'---:|' * len(EXPRESSIONS)}"]
    lines += [f"| {name} | {' | '.join(f'{count:,}' for count in row)} |" for name, row in zip(EXPRESSIONS, changes.matrix, strict=True)]
    return "\n".join([*lines, "", f"Manifest: `{summary.run.manifest_url}`"])


def moves_told(changes: Changes) -> list[str]:
    """The most frequent changes, a line each."""
    moves = changes.moves()
    lines = [f"  {old:<10} -> {new:<10} {count:>9,}" for old, new, count in moves[:MOVES]]
    rest = sum(count for _, _, count in moves[MOVES:])
    return [*lines, f"  others {'':<17} {rest:>9,}"] if rest else lines
