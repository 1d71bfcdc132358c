"""The gallery as one HTML page: style and photographs inside, no script, nothing fetched from anywhere."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Final

import pyarrow as pa

from fer_core.commit.manifest import Manifest
from fer_core.gallery.card import write_card
from fer_core.gallery.label_placement import COLOURS
from fer_core.gallery.photo import GalleryPhoto
from fer_core.gallery.text import LAW, counted, facts, headline
from fer_core.labels import EXPRESSIONS
from fer_core.tables.schema import LABELED, NO_FACE

QUARANTINED_ROWS: Final = 50


def write_page(manifest: Manifest, pictures: Sequence[GalleryPhoto], quarantined: pa.Table) -> str:
    """The whole page. pictures: the photographs to show. quarantined: rows of the images table that could not be processed."""
    style = (files("fer_core.gallery") / "style.css").read_text("utf-8")
    cards = "\n".join(write_card(picture, number) for number, picture in enumerate(pictures))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="robots" content="noindex">
<title>ferflow: {escape(headline(manifest))}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{escape(headline(manifest))}</h1>
<p class="lead">{escape(_lead(manifest, pictures))}</p>
<div class="panels">
<section class="panel"><h2>Faces by apparent expression</h2>{_expressions(manifest)}</section>
<section class="panel"><h2>Pictures by status</h2>{_statuses(manifest)}</section>
<section class="panel wide"><h2>The run</h2>{_facts(manifest)}</section>
</div>
</header>
<main>
{cards}
{_quarantine(quarantined)}
</main>
<footer>{"".join(f"<p>{escape(line)}</p>" for line in LAW)}</footer>
</body>
</html>
"""


def _lead(manifest: Manifest, pictures: Sequence[GalleryPhoto]) -> str:
    shown = sum(manifest.statuses.get(status, 0) for status in (LABELED, NO_FACE))
    sample = f" Shown here: {len(pictures)} of the {shown:,} that could be processed." if len(pictures) < shown else ""
    return (
        "What each face appears to express, with the probability of each of the eight expressions. A dashed box or the mark "
        f"“needs review” means: a person should look.{sample}"
    )


def _expressions(manifest: Manifest) -> str:
    counts = [(name, manifest.expressions.get(name, 0), f"--colour:{COLOURS[name]};") for name in EXPRESSIONS]
    return _tally(counts, manifest.faces)


def _statuses(manifest: Manifest) -> str:
    names = {LABELED: "labelled", NO_FACE: "no face found"}
    total = sum(manifest.statuses.values())
    shown = [(status, count) for status, count in manifest.statuses.items() if count or status in names]
    rows = [
        (names.get(status, status.replace("_", " ")), count, "" if status in names else "--colour:var(--warn);") for status, count in shown
    ]
    note = f'<p class="look">{manifest.unchanged:,} more were already labelled and have not changed.</p>' if manifest.unchanged else ""
    return _tally(rows, total) + note


def _tally(rows: Iterable[tuple[str, int, str]], total: int) -> str:
    lines = (
        f'<dt{"" if count else " class=none"}>{escape(name)}</dt><dd class="track"><span class="fill" '
        f'style="{style}--share:{count / max(1, total):.4f}"></span></dd><dd class="number">{count:,}</dd>'
        for name, count, style in rows
    )
    return f'<dl class="tally">{"".join(lines)}</dl>'


def _facts(manifest: Manifest) -> str:
    code = {"Run", "Source", "Detector", "Pipeline digest"}
    lines = (
        f"<div><dt>{escape(name)}</dt><dd>{f'<code>{escape(value)}</code>' if name in code else escape(value)}</dd></div>"
        for name, value in facts(manifest)
    )
    return f'<dl class="facts">{"".join(lines)}</dl>'


def _quarantine(rows: pa.Table) -> str:
    if not rows.num_rows:
        return ""
    shown = rows.slice(0, QUARANTINED_ROWS).select(["image_uri", "status", "reason"]).to_pylist()
    lines = "".join("<tr>" + "".join(f"<td>{escape(value or '')}</td>" for value in row.values()) + "</tr>" for row in shown)
    rest = rows.num_rows - len(shown)
    more = f'<p class="look">and {rest:,} more in the images table</p>' if rest else ""
    return (
        f'<section class="panel"><h2>{counted(rows.num_rows, "picture")} could not be processed</h2>'
        f"<table><tr><th>picture</th><th>status</th><th>reason</th></tr>{lines}</table>{more}</section>"
    )
