"""Hooks of MkDocs: pages that are made of the code when the site is built, so no copy of them can grow old. mkdocs.yml names it.

    index.md, contributing.md, ...   files of the repository outside docs/
    reference/cli.md                 the commands, from their parser
    reference/configuration.md       the forms, from the parameters of the flows
    guides/analysis.md               docs/guides/analysis.ipynb, executed over the labels root of guides/queries.md

Links between pages and files of the repository work in both: on a page they are relative to the file, in the site they lead to its page.
"""

import argparse
import base64
import html
import json
import os
import posixpath
import re
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parent.parent
OUTSIDE: Final = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security-policy.md",
    "fer_core/weights/tiny/CARD.md": "model-card.md",
}
"""Files of the repository that are pages of the site, and where."""
FORMS: Final = {
    "label-collection": "flows.label_params.LabelParams",
    "relabel": "flows.relabel_params.RelabelParams",
    "retrain": "flows.retrain_params.RetrainParams",
    "report": "flows.report.ReportParams",
    "night-check": "flows.freshness_check.NightCheckParams",
    "housekeeping": "flows.housekeeping.HousekeepingParams",
    "forget": "flows.forget.ForgetParams",
}
NOTEBOOK: Final = "guides/analysis.ipynb"

_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_FENCE: Final = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_DRAWING: Final = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAMES: Final = {page: file for file, page in OUTSIDE.items()}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    sys.path.insert(0, str(ROOT))
    for file, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / file).read_text("utf-8")))
    text, plots = notebook(Path(config.docs_dir) / NOTEBOOK)
    page = NOTEBOOK.replace(".ipynb", ".md")
    files.append(File.generated(config, page, content=text))
    for name, plot in plots.items():
        files.append(File.generated(config, f"guides/{name}", content=plot))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in commands and forms, draw the folders, and lead links to pages."""
    source = page.file.src_uri
    if source == "reference/cli.md":
        markdown = markdown.replace("<!-- commands -->", "\n".join(command_line()))
    elif source == "reference/configuration.md":
        markdown = markdown.replace("<!-- forms -->", "\n".join(forms()))
    markdown = _DRAWING.sub(lambda found: drawn(found[1]), markdown)
    fences = [found.span() for found in _FENCE.finditer(markdown)]

    def led(found: re.Match[str]) -> str:
        inside = any(begin <= found.start() < end for begin, end in fences)
        return found[0] if inside else link(source, found[1], found[2], found[3])

    return _LINK.sub(led, markdown)


def link(source: str, picture: str, text: str, target: str) -> str:
    """The link of a page as the site needs it. A file that is no page of the site is named, and not linked."""
    path, hash_, anchor = target.partition("#")
    if not path or ":" in path:
        return f"{picture}[{text}]({target})"
    file = posixpath.normpath(posixpath.join(posixpath.dirname(_NAMES.get(source, f"docs/{source}")), path))
    page = OUTSIDE.get(file) or (file.removeprefix("docs/") if file.startswith("docs/") else None)
    if page is None:
        if not (ROOT / file).exists():
            raise FileNotFoundError(f"{source} links {target}: there is no {file}")
        return f"`{file}`"
    page = page.replace(".ipynb", ".md")
    if re.fullmatch(r"[\w/.-]+\.md", text):  # the name of a file, which means nothing in the site
        text = Path(page).parent.name if Path(page).stem == "index" else Path(page).stem.replace("-", " ")
    return f"{picture}[{text}]({posixpath.relpath(page, posixpath.dirname(source) or '.')}{hash_}{anchor})"


def command_line() -> Iterator[str]:
    """Every command with its text, its options and their help."""
    from flows.cli.main import EPILOG, _parser

    yield f"{EPILOG}\n"
    yield from _commands(_parser([]), 2)


def _commands(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield f"{'#' * level} {command.prog}\n"
                if command.description:
                    yield f"```text\n{command.description.strip()}\n```\n"
                yield from _options(command)
                yield from _commands(command, level + 1)


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    shown = parser._get_formatter()
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction | argparse._HelpAction) or action.help == argparse.SUPPRESS:
            continue
        names = shown._format_action_invocation(action)
        said = shown._expand_help(action) if action.help else ""
        rows.append(f"| {_code(names)} | {_cell(said)} |")
    if rows:
        yield from ["| option | |", "|---|---|", *rows, ""]


def forms() -> Iterator[str]:
    """A table of fields for each flow."""
    for flow, name in FORMS.items():
        module, _, class_ = name.rpartition(".")
        schema: dict[str, Any] = getattr(import_module(module), class_).model_json_schema()
        yield from [f"### {flow}\n", "| field | in the form | default | |", "|---|---|---|---|"]
        required = set(schema.get("required", ()))
        for field, about in schema["properties"].items():
            default = "required" if field in required else _code(json.dumps(about.get("default"), ensure_ascii=False))
            yield f"| `{field}` | {_cell(about.get('title', ''))} | {default} | {_cell(about.get('description', ''))} |"
        yield ""


def drawn(text: str) -> str:
    """A Mermaid flowchart as nested boxes and a table of its arrows: no script of another server, and readable on a phone."""
    boxes, arrows, names = [], [], dict[str, str]()
    for line in text.splitlines():
        for one, label in re.findall(r'(\w+)\["([^"]+)"\]', line):
            if one not in names and not line.strip().startswith("subgraph"):
                names[one] = label
                boxes.append(f"<span>{html.escape(label)}</span>")
        if begun := re.match(r'\s*subgraph (\w+)(?:\["([^"]+)"\])?', line):
            names[begun[1]] = begun[2] or begun[1]
            boxes.append(f"<div><strong>{html.escape(names[begun[1]])}</strong><br>")
        elif line.strip() == "end":
            boxes.append("</div>")
        plain = re.sub(r'\["[^"]+"\]', "", line).strip()
        if arrow := re.fullmatch(r'(\w+) (?:-- "([^"]+)" -->|-\. "([^"]+)" \.->?) (\w+)|(\w+) -\. "([^"]+)" \.- (\w+)', plain):
            begin, what, end = (arrow[1] or arrow[5], arrow[2] or arrow[3] or arrow[6], arrow[4] or arrow[7])
            arrows.append((begin, what, end))
    table = [f"| {names.get(begin, begin)} | {what} | {names.get(end, end)} |" for begin, what, end in arrows]
    return "\n".join(['<div class="folders">', *boxes, "</div>", "", "| from | what | to |", "|---|---|---|", *table])


def notebook(file: Path) -> tuple[str, dict[str, bytes]]:
    """Execute it, and give its Markdown and its plots by name. A cell that fails ends the build."""
    import nbformat
    from nbclient import NotebookClient
    from traitlets.config import Config

    from tests.support.question_root import question_root

    page = nbformat.read(file, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        question_root(Path(folder))
        before = dict(os.environ)
        os.environ |= {"LABELS": f"{folder}/LABELS", "PYTHONPATH": str(ROOT), "JUPYTER_RUNTIME_DIR": folder, "IPYTHONDIR": folder}
        try:
            sockets = Config(KernelManager={"transport": "ipc", "ip": f"{folder}/kernel"})  # files, no ports
            NotebookClient(page, timeout=120, kernel_name="python3", resources={"metadata": {"path": folder}}, config=sockets).execute()
        finally:
            os.environ.clear()
            os.environ |= before
    text, plots = [], dict[str, bytes]()
    for cell in page.cells:
        if cell.cell_type == "markdown":
            text.append(cell.source)
            continue
        text.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"analysis-{len(plots) + 1}.png"
                plots[name] = base64.b64decode(data["image/png"])
                text.append(f"![{cell.source.splitlines()[0].removeprefix('# ')}]({name})")
            elif "text/html" in data:
                text.append(
                    re.sub(r"<style.*?</style>", "", data["text/html"], flags=re.DOTALL).replace(' border="1" class="dataframe"', "")
                )
            else:
                text.append(f"```text\n{data.get('text/plain') or output.get('text', '')}\n```")
    return "\n\n".join(text) + "\n", plots


def _code(text: str) -> str:
    return f"`{' '.join(text.split())}`"


def _cell(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=False).replace("|", "&#124;")
