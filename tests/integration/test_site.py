"""The documentation site: built strict and without a network, its pages lead somewhere and load nothing from other servers."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import fer_core
from flows.cli.main import COMMANDS
from flows.label_params import LabelParams
from tests.support.processes import REPOSITORY

LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "srcset"), ("object", "data")}


class Read(HTMLParser):
    """Ids of a page, what it loads and what it links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.loaded, self.linked = set(), set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.add(value)
            elif (tag, name) in LOADED and not (tag == "link" and ("rel", "canonical") in attrs):
                self.loaded.add(value)
            elif (tag, name) == ("a", "href"):
                self.linked.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make site` builds it; as root in a network namespace of its own, which has no network."""
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-P", "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder / "site")]
    if os.geteuid() == 0 and shutil.which("unshare"):
        words = ["unshare", "--net", *words]
    environment = {**os.environ, "HOME": str(folder), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=REPOSITORY, env=environment, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site):
    return {file: Read(file.read_text("utf-8")) for file in site.rglob("*.html") if file.name != "404.html"}


def text(site, page):
    return (site / page).read_text("utf-8")


def test_every_page_is_there(site, pages):
    docs = {file.relative_to(REPOSITORY / "docs").with_suffix(".html") for file in (REPOSITORY / "docs").rglob("*.md")}
    made = {file.relative_to(site) for file in pages} - docs
    assert docs <= {file.relative_to(site) for file in pages}
    assert {file.stem for file in made} == {"index", "analysis", "contributing", "changelog", "security-policy", "model-card"}


def test_nothing_is_loaded_from_another_server(site, pages):
    assert {address for page in pages.values() for address in page.loaded if "//" in address} == set()
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", sheet.read_text("utf-8")), sheet


def test_each_link_leads_to_a_page_and_its_heading(site, pages):
    for file, page in pages.items():
        for address in page.linked | page.loaded:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            assert target.is_file() or (target / "index.html").is_file(), (file, address)
            if parts.fragment and target in pages and not parts.fragment.startswith("__"):
                assert unquote(parts.fragment) in pages[target].ids, (file, address)


def test_the_command_line_has_every_command(site):
    page = text(site, "reference/cli.html")
    for command in COMMANDS:
        assert f'id="ferflow-{command}"' in page
    assert "--min-face PX|N%" in page


def test_the_forms_have_every_field(site):
    page = text(site, "reference/configuration.html")
    for name, field in LabelParams.model_fields.items():
        assert f"<code>{name}</code>" in page
        assert (field.title or "") in page


def test_the_python_calls_have_signature_and_text(site):
    page = text(site, "reference/python-api.html")
    for name in fer_core.__all__:
        assert re.search(rf'id="fer_core\.[\w.]+\.{name}"', page)
    assert "min_face" in page


def test_the_notebook_was_executed(site):
    page = text(site, "guides/analysis.html")
    assert page.count("<img ") >= 2
    assert "happiness" in page
    for plot in re.findall(r'<img [^>]*src="([^"]+)"', page):
        assert (site / "guides" / plot).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("drawing", [f"<span>{name}</span>" for name in ("cli", "decode", "faceset/importers")])
def test_the_architecture_is_drawn_without_a_script(site, drawing):
    page = text(site, "explanation/architecture.html")
    assert drawing in page
    assert "mermaid" not in page


def test_paths_of_pages_that_files_name_are_there():
    """In messages, docstrings and other files: what moved is named by its new place. The changelog says what was."""
    listed = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True, cwd=REPOSITORY).stdout.split()
    recorded = {"CHANGELOG.md", "fer_core/detect/weights/builtin.json"}  # the latter is part of a digest
    missing = []
    for name in listed:
        file = REPOSITORY / name
        if name not in recorded and file.suffix in {".py", ".md", ".yaml", ".yml", ".toml", ".json", ".txt", ""} and file.is_file():
            for page in re.findall(r"(?<![\w/])docs/[\w/-]+\.(?:md|png|ipynb)", file.read_text("utf-8", errors="ignore")):
                if not Path(REPOSITORY / page).is_file():
                    missing.append((name, page))
    assert missing == []


def test_the_readme_is_short():
    assert len((REPOSITORY / "README.md").read_text("utf-8").splitlines()) < 200
