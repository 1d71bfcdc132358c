"""The purpose of runs travels to what is written from their root: here each place that has it besides parts and manifests."""

import json

import pyarrow.parquet as pq
import pytest

from fer_core.commit.reader import purposes_of
from fer_core.export.current_file import export_current
from fer_core.faceset import card_for_model, read_card
from fer_core.gallery import draw_gallery
from fer_core.monitoring.report import report_on, write_report
from fer_core.review.export import export_review
from fer_core.review.face_set import import_reviewed
from fer_core.storage.store import open_store
from tests.support.remembered import remember

PURPOSE = "user study 12 <b>&\"'"
SHOWN = "user study 12 &lt;b&gt;&amp;"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("purpose")
    return remember(str(folder / "root"), folder / "photos", PURPOSE).store


def test_manifests(root):
    assert purposes_of(root) == purposes_of(root, {"second"}) == (PURPOSE,)
    assert purposes_of(root, set()) == ()


def test_a_gallery(root, tmp_path):
    draw_gallery(root.url(), tmp_path / "g.html", None, 1)
    assert SHOWN in (tmp_path / "g.html").read_text()


def test_an_export_for_review(root, tmp_path):
    other = open_store(str(tmp_path / "root"))
    for path in root.list_files():
        if "/reviews/" not in path:  # reviewed faces are not exported again
            other.write_bytes(path, root.read_bytes(path))
    export_review(other, open_store(str(tmp_path / "review")))
    assert f"<p>Purpose of the labels: {SHOWN}" in (tmp_path / "review" / "review.html").read_text()


def test_a_report(root, tmp_path):
    write_report(report_on(root), str(tmp_path / "report.html"))
    assert f"Purpose of the labels: {SHOWN}" in (tmp_path / "report.html").read_text()


def test_an_export_of_current_labels(root, tmp_path):
    found = export_current(root, open_store(str(tmp_path / "current")))
    assert json.loads(pq.read_schema(found.file).metadata[b"fer.purposes"]) == [PURPOSE]


def test_a_face_set_and_the_card_of_a_model_trained_on_it(root, tmp_path):
    import_reviewed(root, tmp_path / "set")
    card = read_card(tmp_path / "set")
    assert (card.purposes, card.origin) == ((PURPOSE,), root.url())
    told = card_for_model(card)
    assert (told["purposes"], "origin" in told) == ((PURPOSE,), False)
