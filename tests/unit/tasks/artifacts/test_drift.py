"""The artifact of a report: drift in a table, labels by run as a picture, the address of the page."""

from fer_core.monitoring.report import report_on
from fer_core.storage.store import open_store
from tasks.artifacts.drift import markdown
from tests.support.drifting import night


def test_the_picture_and_the_address_of_the_page(tmp_path):
    night(tmp_path / "labels", "first", 0)
    night(tmp_path / "labels", "odd", 1, happy=0.95)
    text = str(markdown(report_on(open_store(str(tmp_path / "labels"))), "/pages/report.html"))
    assert "run odd has drifted: expression. The whole report: `/pages/report.html`" in text
    assert text.count("![Shares of the eight expressions by run](data:image/png;base64,") == 1
    assert "| expression |" in text
    assert "secret" not in text  # what the pictures are called
