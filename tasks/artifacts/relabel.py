"""Summary of a committed relabelling."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fer_core.labels import EXPRESSIONS
from fer_core.relabel.changes import Changes
from tasks.artifacts.label import Summary
from tasks.artifacts.markdown import Markdown, code, lines

MOVES: Final = 10
"""Changes of label that are named one by one."""


@dataclass(frozen=True, slots=True)
class RelabelSummary:
    """A committed relabelling with its times and its changes."""

    run: Summary
    changes: Changes


def headline(changes: Changes) -> str:
    """One line."""
    if not changes.faces:
        return "no face has an earlier label to compare"
    return f"{changes.changed:,} of {changes.faces:,} faces ({100 * changes.share_changed:.1f} %) have another expression now"


def markdown(summary: RelabelSummary) -> Markdown:
    """The summary artifact. Names no image and no credentials."""
    manifest, changes = summary.run.manifest, summary.changes
    model = Markdown("Model {} {}, {:,} faces, {:,} images.\n")
    written = [
        Markdown("# {}\n\n{}.\n").format(manifest.run_id, headline(changes)),
        model.format(code(manifest.model_name), code(manifest.model_digest[:12]), manifest.faces, summary.run.images),
        Markdown("| | before | after |\n|---|---:|---:|"),
        Markdown("| mean confidence | {:.3f} | {:.3f} |").format(changes.confidence_before, changes.confidence_after),
        Markdown("| needs review | {:,} | {:,} |\n").format(changes.review_before, changes.review_after),
    ]
    if changes.without_crops:
        kept = Markdown("{:,} images keep their labels: the crops of their faces were not kept.\n")
        written.append(kept.format(changes.without_crops))
    names, marks = Markdown(" | ").join(EXPRESSIONS), Markdown("---:|" * len(EXPRESSIONS))
    head = Markdown("| before \\ after | {} |\n|---|{}").format(names, marks)
    rows = [_row(name, row) for name, row in zip(EXPRESSIONS, changes.matrix, strict=True)]
    return lines(written, head, rows, Markdown("\nManifest: {}").format(code(summary.run.manifest_url)))


def _row(name: str, counts: Iterable[int]) -> Markdown:
    return Markdown("| {} | {} |").format(name, Markdown(" | ").join(f"{count:,}" for count in counts))


def describe_moves(changes: Changes) -> list[str]:
    """The most frequent changes, a line each."""
    moves = changes.moves()
    lines = [f"  {old:<10} -> {new:<10} {count:>9,}" for old, new, count in moves[:MOVES]]
    rest = sum(count for _, _, count in moves[MOVES:])
    return [*lines, f"  others {'':<17} {rest:>9,}"] if rest else lines
