"""The review as one HTML page: style, script and pictures inside, nothing fetched from anywhere. It works from disk.

The script's digest stands in the page's content security policy, so that nothing else can run in it, whatever a file name holds.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Final

from fer_core.gallery.label_placement import COLOURS
from fer_core.outputs.mark import html_mark
from fer_core.review.corrections import FORMAT, VERSION
from fer_core.review.verdicts import KEYS, SPOKEN, VERDICTS

NO_COLOUR: Final = "#8a8f98"
"""Of verdicts that name no expression."""


def write_page(
    faces: Sequence[Mapping[str, object]], export_id: str, note: str = "", purposes: Sequence[str] = (), command: str = ""
) -> str:
    """The whole page.

    faces: `ShownFace` as JSON objects. note: a sentence above them. purposes: of the runs that labelled them. command: takes the answers.
    """
    folder = files("fer_core.review")
    style, script, body = ((folder / f"page.{kind}").read_text("utf-8") for kind in ("css", "js", "html"))
    verdicts = [{"name": name, "spoken": SPOKEN[name], "key": KEYS[name], "colour": COLOURS.get(name, NO_COLOUR)} for name in VERDICTS]
    value = {"format": FORMAT, "version": VERSION, "export_id": export_id, "verdicts": verdicts, "faces": faces}
    value |= {name: text for name, text in (("note", note), ("command", command)) if text}
    images = dict.fromkeys((str(face["image_sha256"]), str(face["image_uri"])) for face in faces)
    purpose = f"\n<p>Purpose of the labels: {escape('; '.join(purposes))}</p>" if purposes else ""
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{_digest(script)}'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="robots" content="noindex">
{html_mark("review", images)}
<meta name="referrer" content="no-referrer">
<title>ferflow: {len(faces)} faces to review</title>
<style>
{style}</style>
</head>
<body>
{body}{purpose}
<script type="application/json" id="export">{_embedded(value)}</script>
<script>{script}</script>
</body>
</html>
"""


def _embedded(value: Mapping[str, object]) -> str:
    """JSON that no HTML parser takes for a tag."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
