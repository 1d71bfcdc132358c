"""Pages of artifacts: whatever a name holds, it is text there. Read by a parser of CommonMark with tables, tags allowed as in browsers."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from fer_core.commit.verify import VerifyReport
from fer_core.text import visible
from tasks.artifacts.label import Summary, markdown
from tasks.artifacts.markdown import Markdown, code, lines
from tasks.housekeeping import Housekeeping
from tasks.housekeeping import page as housekeeping_page
from tests.support.fakes import config, label, refs, write_pictures

EVIL = (
    "x|y `z` <img src=x onerror=alert(1)> [x](javascript:alert(1)) ![p](http://evil/p.png)\n# big\n\n"
    "<script>1</script> **b** http://evil/ www.evil.example &amp; \\"
)


class Shown(HTMLParser):
    """What a browser makes of it."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], ""
        self.feed(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.words += data


def table(cell):
    return lines(Markdown("| name | n |\n|---|---:|"), Markdown("| {} | {:,} |").format(cell, 1234))


@given(st.text())
def test_any_text_is_shown_as_it_is_in_a_cell_and_in_a_line(text):
    for write in (Markdown.escape, code):
        shown = Shown(table(write(text)))
        assert set(shown.tags) <= {"table", "thead", "tbody", "tr", "th", "td", "code"}
        assert len([tag for tag in shown.tags if tag == "td"]) == 2
        assert visible(text).strip() in shown.words
        line = Shown(lines(Markdown("Model {}.").format(write(text))))
        assert set(line.tags) <= {"p", "code"}
        assert f"Model {visible(text)}." in line.words


def test_what_is_not_written_as_markdown_is_text():
    assert type(f"{Markdown('**strong**')}") is str
    shown = Shown(lines("**strong**", Markdown("**{}**").format("*strong*"), [EVIL]))
    assert shown.tags == ["p", "strong"]
    assert "**strong**\n*strong*\n" in shown.words
    assert visible(EVIL) in shown.words


def test_addresses_in_names_become_no_links():
    linking = MarkdownIt("commonmark", {"html": True})
    assert "://" not in Markdown.escape("see http://evil/ and www.evil.example and me@evil.example")
    assert "<a" not in linking.render(Markdown.escape("<http://evil/> http://evil/"))


@pytest.fixture
def summary(tmp_path):
    manifest = label(config(tmp_path / "root"), refs(write_pictures(tmp_path / "photos", [1])))
    return Summary(
        replace(manifest, detector=EVIL, model_name=EVIL, statuses={EVIL: 1, "no_face": 2}, seconds={EVIL: 1.0}), EVIL, 0, 0.0, 1.0
    )


def test_the_page_of_a_run_holds_names_as_text(summary):
    shown = Shown(markdown(summary))
    assert not {"img", "a", "script", "strong", "em"} & set(shown.tags)
    assert shown.tags.count("h1") == 1
    assert shown.words.count(visible(EVIL).replace("_", " ")) == 5
    assert "no face" in shown.words


def test_the_page_of_housekeeping_holds_problems_as_text():
    report = VerifyReport(runs=1, parts=1, rows=1, problems=(EVIL, "labels/a_b_c.parquet is gone"), notes=(EVIL,))
    shown = Shown(housekeeping_page(Housekeeping((), (), report)))
    assert shown.tags.count("li") == 3
    assert not {"img", "a", "script", "strong", "em"} & set(shown.tags)
    assert "labels/a_b_c.parquet is gone" in shown.words
