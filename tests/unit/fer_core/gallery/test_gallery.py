"""Galleries of fake runs: what they show, what they hide, and that nothing in them reaches out."""

import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fer_core.commit.reader import newest_run, read_images, read_labels
from fer_core.errors import CommitError, StoreError
from fer_core.gallery import draw_gallery
from fer_core.gallery.drawing import truncate_to_width, width
from fer_core.gallery.label_placement import COLOURS, TAG_SHADOW, place_labels
from fer_core.gallery.text import percent
from fer_core.labels import EXPRESSIONS
from fer_core.review.pictures import photograph
from fer_core.storage.paths import manifest_file
from fer_core.storage.store import open_store
from tests.support.fakes import config, label, refs, write_pictures


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag, **attributes):
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [found for name, found in self.tags if name == tag and wanted.items() <= found.items()]


@pytest.fixture
def drawn(tmp_path):
    """Draws the newest run below tmp_path/root."""

    def draw(limit=24, **options):
        summary = draw_gallery(str(tmp_path / "root"), tmp_path / "g" / "gallery.html", tmp_path / "g" / "gallery.png", limit, **options)
        text = summary.html.read_text("utf-8")
        page = Page(text)
        assert page.open == []
        return summary, page, text

    return draw


def run_over(tmp_path, faces, **changes):
    folder = write_pictures(tmp_path / "photos", faces)
    return label(replace(config(tmp_path / "root"), **changes), refs(folder))


def test_every_face_has_its_box_points_crop_and_eight_bars(tmp_path, drawn):
    run_over(tmp_path, [1, 0, 4])
    summary, page, _ = drawn()
    assert (summary.pictures, summary.unreadable, summary.faces) == (3, 0, 5)
    assert len(page.all("section", class_="face")) == 5
    assert len(page.all("img", width="112")) == 5
    assert len(page.all("circle")) == 5 * 5
    assert len(page.all("dl", class_="bars")) == 5
    shares = [float(re.search(r"--share:([\d.]+)", found["style"])[1]) for found in page.all("span", class_="fill")]
    assert sum(shares[-40:]) == pytest.approx(5, abs=1e-3)
    assert "5 faces in 3 pictures" in page.words


def test_boxes_stand_where_the_labels_say(tmp_path, drawn):
    run_over(tmp_path, [1])
    _, page, _ = drawn()
    box = next(found for found in page.all("rect", fill="none"))
    assert [float(box[name]) for name in ("x", "y", "width", "height")] == [0, 10, 30, 36]


def test_the_page_fetches_nothing_and_runs_nothing(tmp_path, drawn):
    run_over(tmp_path, [2, 5])
    _, page, text = drawn()
    assert not page.all("script")
    assert not page.all("link")
    assert all(found["src"].startswith("data:image/jpeg;base64,") for found in page.all("img"))
    assert all(found["href"].startswith("#") for found in page.all("a"))
    assert "url(" not in text
    assert "default-src 'none'" in page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]


def test_names_and_purpose_are_only_ever_text(tmp_path, drawn):
    folder = write_pictures(tmp_path / "photos", [1])
    evil = """<script>alert("1")</script> & ' %41 #.png"""
    (folder / "image-000.png").rename(folder / evil.replace("/", "_"))
    label(replace(config(tmp_path / "root"), purpose="<img src=x onerror=alert(1)>"), refs(folder))
    summary, page, _ = drawn()
    assert summary.unreadable == 0
    assert not page.all("script")
    assert all("onerror" not in found for _, found in page.tags)
    assert evil.replace("/", "_") in page.words
    assert "<img src=x onerror=alert(1)>" in page.words


def test_a_photograph_that_moved_or_changed_shows_no_boxes_on_another(tmp_path, drawn):
    run_over(tmp_path, [1, 2, 3])
    (tmp_path / "photos" / "image-000.png").unlink()
    (tmp_path / "photos" / "image-001.png").write_bytes((tmp_path / "photos" / "image-002.png").read_bytes())
    summary, page, _ = drawn()
    assert (summary.pictures, summary.unreadable, summary.faces) == (3, 2, 6)
    text = " ".join(page.words)
    assert "the file is not there" in text
    assert "the file has changed since it was labelled" in text
    assert len(page.all("circle")) == 3 * 5
    assert len(page.all("dl", class_="bars")) == 6


def promise_as_it_is(store, manifest):
    """Let the manifest promise the parts as they are now."""
    contents = {part.path: store.read_bytes(part.path) for part in manifest.parts}
    parts = tuple(
        replace(part, bytes=len(contents[part.path]), sha256=hashlib.sha256(contents[part.path]).hexdigest()) for part in manifest.parts
    )
    store.write_bytes(manifest_file(manifest.run_id), replace(manifest, parts=parts).to_bytes())


@pytest.mark.parametrize("digest", [None, "", "0" * 64])
def test_a_table_without_the_digest_of_a_picture_shows_nothing_of_it(tmp_path, drawn, digest):
    """A forged table names a picture outside of the collection."""
    manifest = run_over(tmp_path, [2])
    secret = tmp_path / "secret.png"
    Image.new("RGB", (64, 64), (250, 1, 2)).save(secret)
    for part in manifest.parts_of("images") + manifest.parts_of("labels"):
        file = tmp_path / "root" / part.path
        rows = pq.read_table(file)
        for name, value in (("image_uri", str(secret)), ("image_sha256", digest)):
            at = rows.schema.get_field_index(name)
            rows = rows.set_column(at, rows.schema.field(name), pa.array([value] * rows.num_rows, pa.string()))
        pq.write_table(rows, file)
    promise_as_it_is(open_store(str(tmp_path / "root")), manifest)
    summary, page, text = drawn()
    assert (summary.pictures, summary.unreadable) == (1, 1)
    assert not page.all("img")
    assert "the file has changed since it was labelled" in text
    assert photograph({"image_uri": str(secret), "image_sha256": digest}) is None  # what reviews and face sets of reviews show


def test_what_could_not_be_looked_at_is_listed_with_its_reason(tmp_path, drawn):
    folder = write_pictures(tmp_path / "photos", [1])
    (folder / "broken.jpg").write_bytes(b"")
    label(config(tmp_path / "root"), refs(folder))
    _, page, _ = drawn()
    assert "unreadable" in page.words
    assert "empty file" in page.words
    assert "1 picture could not be processed" in page.words


def test_a_crowd_is_folded_and_a_large_run_sampled_evenly(tmp_path, drawn):
    run_over(tmp_path, [40, *[1] * 10])
    summary, page, _ = drawn(limit=3)
    assert summary.pictures == 3
    assert [found["alt"] for found in page.all("img") if "png" in found["alt"]] == ["image-001.png", "image-005.png", "image-009.png"]
    _, page, _ = drawn(limit=11)
    assert "16 more faces" in page.words
    assert len(page.all("section", class_="face")) == 50


def test_the_sheet_is_a_picture_of_the_same(tmp_path, drawn):
    run_over(tmp_path, [1, 0, 6, 30])
    summary, _, _ = drawn()
    with Image.open(BytesIO(summary.png.read_bytes())) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width == 1840
        colours = {colour for _, colour in sheet.convert("RGB").getcolors(1 << 24)}
    newest = newest_run(open_store(str(tmp_path / "root")))
    for name, count in newest.expressions.items():
        rgb = tuple(int(COLOURS[name][at : at + 2], 16) for at in (1, 3, 5))
        assert count == 0 or rgb in colours, name


def test_a_gallery_of_a_night_without_news_shows_the_last_news(tmp_path, drawn):
    folder = write_pictures(tmp_path / "photos", [2])
    label(config(tmp_path / "root", "run-a"), refs(folder))
    label(config(tmp_path / "root", "run-b"), [])
    summary, _, _ = drawn()
    assert summary.run_id == "run-a"
    assert drawn(run_id="run-b")[0].pictures == 0


def test_no_run_or_no_place_to_write_is_one_clear_error(tmp_path):
    with pytest.raises(CommitError, match="no run has been committed"):
        draw_gallery(str(tmp_path / "root"), tmp_path / "g.html", None, 3)
    run_over(tmp_path, [1])
    with pytest.raises(CommitError, match="not committed"):
        draw_gallery(str(tmp_path / "root"), tmp_path / "g.html", None, 3, "run-z")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        draw_gallery(str(tmp_path / "root"), tmp_path / "file" / "g.html", None, 3)


def test_a_snapshot_reads_rows_of_the_asked_images_only(tmp_path):
    manifest = run_over(tmp_path, [1, 2, 3, 4])
    store = open_store(str(tmp_path / "root"))
    images = read_images(store, manifest)
    assert images["n_faces"].to_pylist() == [1, 2, 3, 4]
    asked = [images["image_uri"][3].as_py(), images["image_uri"][1].as_py()]
    rows = read_labels(store, manifest, asked)
    assert rows["image_uri"].to_pylist() == sorted(asked[1:] * 2 + asked[:1] * 4)
    assert rows["face_index"].to_pylist() == [0, 1, 0, 1, 2, 3]
    (tmp_path / "root" / manifest.parts_of("labels")[0].path).unlink()
    with pytest.raises(CommitError, match="missing"):
        read_labels(store, manifest, asked)


@st.composite
def crowds(draw):
    """Boxes inside a canvas, and tag sizes for each."""
    count = draw(st.integers(0, 14))
    span = st.floats(0, 1, width=32)
    boxes = np.zeros((count, 4), np.float32)
    for row in boxes:
        x, y, w, h = draw(span) * 380, draw(span) * 280, 4 + draw(span) * 200, 4 + draw(span) * 200
        row[:] = x, y, min(x + w, 400), min(y + h, 300)
    full, short = (70.0, 30.0), (70.0, 14.0)
    sizes = [draw(st.sampled_from([(), (short,), (full, short)])) for _ in range(count)]
    return boxes, sizes


@given(crowds())
@settings(deadline=None, max_examples=60)
def test_tags_stay_inside_overlap_none_and_hide_no_face(crowd):
    boxes, sizes = crowd
    tags = place_labels(boxes, sizes, (400.0, 300.0))
    assert len(tags) == len(boxes)
    for tag, offered in zip(tags, sizes, strict=True):
        assert tag is None or (tag.width, tag.height) in offered
        assert tag is None or (tag.x >= 0 and tag.y >= 0 and tag.x + tag.width <= 400 and tag.y + tag.height <= 300)
    placed = [tag for tag in tags if tag]
    for a, b in combinations(placed, 2):
        assert a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y
    for tag in placed:
        for x0, y0, x1, y1 in boxes.astype(float):
            across, down = min(x1, tag.x + tag.width) - max(x0, tag.x), min(y1, tag.y + tag.height) - max(y0, tag.y)
            assert max(across, 0) * max(down, 0) <= TAG_SHADOW * (x1 - x0) * (y1 - y0) * 1.001


def test_a_lone_face_gets_the_tag_with_bars():
    tags = place_labels(np.array([[100, 100, 200, 220]], np.float32), [((70.0, 30.0), (70.0, 14.0))], (400.0, 300.0))
    assert (tags[0].width, tags[0].height) == (70.0, 30.0)
    assert tags[0].y + 30 <= 100


@given(st.floats(0, 1, width=32))
@settings(deadline=None)
def test_percent_rounds_but_never_tells_certainty(share):
    text = percent(share)
    assert text.endswith(" %")
    assert (text == ">99 %") == (round(100 * share) == 100)
    assert (text == "0 %") == (share == 0)
    if text[0] not in "<>":
        assert abs(float(text[:-2]) - 100 * share) <= 0.5 + 1e-9


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=40), st.integers(10, 300))
@settings(deadline=None, max_examples=40)
def test_fitted_text_fits(text, room):
    shown = truncate_to_width(text, 15, room)
    assert shown == text or (shown.endswith("...") and text.startswith(shown[:-3]))
    assert width(shown, 15) <= max(room, width("...", 15))


VISION = {
    "usual": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""Linear RGB as each eye sees it: Machado, Oliveira, Fernandes, IEEE TVCG 15(6), 2009, severity 1."""


@pytest.mark.parametrize("eye", VISION)
def test_the_colours_of_any_two_expressions_are_told_apart_by_every_eye(eye):
    from skimage.color import rgb2lab

    assert tuple(COLOURS) == EXPRESSIONS
    rgb = np.array([[int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)] for colour in COLOURS.values()])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(VISION[eye]).T, 0, 1)
    back = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = rgb2lab(back[None])[0]
    assert min(np.linalg.norm(a - b) for a, b in combinations(lab, 2)) > 25
