"""The report in a real browser: nothing fetched, nothing refused, readable on a phone, on paper, in the dark, and without eyes."""

import itertools
import json

import pytest

from fer_core.monitoring.disclosure import Disclosure
from fer_core.monitoring.report import report_on, write_report
from fer_core.storage.store import open_store
from tests.support import reviews
from tests.support.browser import browser

HOSTILE = "<img src=x onerror=document.title='owned'>"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report with names and faces over folders and files with hostile names, in a browser."""
    folder = tmp_path_factory.mktemp("report")
    reviews.photographs(folder / "photos", 4, faces=2)
    reviews.photographs(folder / "photos" / (HOSTILE + "long" * 30), 4, faces=2, first=4)
    (folder / "photos" / (HOSTILE + "broken" * 20 + ".png")).write_bytes(b"\x89PNG\r\n\x1a\nno")
    for number in range(2):
        reviews.night(folder / "root", folder / "photos", number, keep_crops=True)
    write_report(report_on(open_store(str(folder / "root"))), str(folder / "report.html"), Disclosure(names=True, faces=True))
    with browser(folder / "chromium") as driver:
        driver.get((folder / "report.html").as_uri())
        yield driver


def test_nothing_is_fetched_refused_or_executed(page):
    assert page.title == "ferflow: report"
    assert [entry["message"] for entry in page.get_log("browser")] == []
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    sent = [params["request"]["url"] for params in asked if not params["documentURL"].startswith("chrome://")]
    assert [url for url in sent if not url.startswith(("file:///", "data:image/"))] == []
    shown = page.find_elements("css selector", "img")
    assert len(shown) > 8
    assert all(page.execute_script("return arguments[0].naturalWidth", picture) == 112 for picture in shown)
    assert HOSTILE in page.find_element("id", "quarantine").text


@pytest.mark.parametrize("width", [390, 768, 1240])
def test_no_width_scrolls_sideways(page, width):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    )
    try:
        page.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_each_plot_has_a_name_and_headings_are_in_order(page):
    plots = page.find_elements("css selector", "svg")
    assert len(plots) > 10
    assert all(plot.get_attribute("role") == "img" and plot.get_attribute("aria-label") for plot in plots)
    levels = [int(one.tag_name[1]) for one in page.find_elements("css selector", "h1, h2, h3, h4")]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    missing = "return [...document.querySelectorAll('a')].filter(one => !document.querySelector(one.getAttribute('href'))).length"
    assert page.execute_script(missing) == 0
    tables = page.find_elements("css selector", "table")
    assert all(table.find_elements("css selector", "th[scope=col]") for table in tables)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(page, scheme):
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    worst = page.execute_script("""
        const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).map(one => { const c = one / 255;
            return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const ground = one => { while (one) { const found = getComputedStyle(one).backgroundColor;
            if (!found.endsWith(', 0)')) return found; one = one.parentElement; } return 'rgb(255, 255, 255)'; };
        return [...document.querySelectorAll('h1, h2, h3, h4, p, th, td, dt, dd, figcaption, summary, a, span, small, li')]
            .filter(one => one.textContent.trim() && !one.closest('svg') && one.offsetParent)
            .map(one => { const two = [light(getComputedStyle(one).color), light(ground(one))].sort((a, b) => b - a);
                return [(two[0] + 0.05) / (two[1] + 0.05), one.outerHTML.slice(0, 120)]; })
            .sort((a, b) => a[0] - b[0])[0]""")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert worst[0] >= 4.5, worst  # WCAG 2.2, AA


def test_a_printed_page_is_white_and_whole(page):
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    try:
        assert page.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not page.find_element("css selector", "nav").is_displayed()
        assert all(one.is_displayed() for one in page.find_elements("css selector", "h2"))
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
