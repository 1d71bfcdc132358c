"""The table of turned pictures: what is counted, and windows without faces."""

import numpy as np
from PIL import Image
from skimage import data

from benchmarks.detector.turned import AFTER, BEFORE, Label, Sums, gallery, largest_window, load, measure, table, wilson
from fer_core.align.face_extractor import CpuFaceExtractor, ExtractedFaces
from fer_core.align.turning_extractor import TurningExtractor
from fer_core.detect.builtin.detector import BuiltinDetector
from fer_core.types import Faces
from tests.support import fakes


def test_both_rules_are_held_against_the_upright_picture(tmp_path):
    detector = BuiltinDetector()
    upright = CpuFaceExtractor(detector)
    rules = {BEFORE: upright, AFTER: TurningExtractor(upright, detector.upright)}
    pictures = [data.astronaut()]
    sums = measure(pictures, rules, fakes.FakePredictor())
    after = [sums[AFTER, degrees] for degrees in (90, 180, 270)]
    assert [(each.referred, each.same, each.wrong) for each in after] == [(1, 1, 0)] * 3  # crops are equal bit for bit
    assert sums[AFTER, 0].referred == 0
    rows = table("builtin | astronaut", sums).splitlines()
    assert len(rows) == 8
    assert "100.0 % | 100.0 % (20.7-100.0) | 0.0 % (0.0-79.3)" in rows[-1]
    gallery(pictures, {degrees: sums[AFTER, degrees].faces for degrees in (0, 90, 180, 270)}, tmp_path / "drawn" / "sheet.png")
    with Image.open(tmp_path / "drawn" / "sheet.png") as drawn:
        assert drawn.size == (4 * 340, 228)


def test_what_is_counted():
    face = ExtractedFaces(Faces.none(), np.zeros((0, 112, 112, 3), np.uint8))
    sums, happy = Sums(), Label("happiness", False)
    for label in (happy, Label("anger", False), Label("anger", True), None):
        sums.add(face, label, happy, 0.5)
    sums.add(face, happy, None, 0.5)
    assert (sums.pictures, sums.found, sums.referred, sums.same, sums.wrong, sums.seconds) == (5, 4, 4, 1, 1, 2.5)
    assert wilson(8, 10) == "80.0 % (49.0-94.3)"
    assert wilson(0, 0) == "-"


def test_windows_are_far_from_faces():
    pixels = np.zeros((600, 900, 3), np.uint8)
    pixels[:, 400:] = 255
    window = largest_window(pixels, np.array([[0, 0, 400, 600]], np.float64), np.random.default_rng(0))
    assert window is not None
    assert window.min() == 255
    assert min(window.shape[:2]) >= 200
    assert largest_window(pixels, np.array([[0, 0, 900, 600]], np.float64), np.random.default_rng(0)) is None


def test_sets_are_read(tmp_path):
    folder = tmp_path / "photos" / "afw"
    folder.mkdir(parents=True)
    Image.fromarray(data.astronaut()).save(folder / "one.png")
    (folder / "annotations.json").write_text('{"one.png": {"boxes_xyxy": [[180, 62, 272, 177]]}}')
    assert [picture.shape for picture in load(tmp_path, "afw", 1)] == [(512, 512, 3)]
    (window,) = load(tmp_path, "no faces", 1)
    assert min(window.shape[:2]) >= 200
