"""The table of smallest faces: pictures composed with the boxes of their faces, and what is counted over them."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from benchmarks.detector.composed import annotated, compose
from benchmarks.detector.min_face import EARLIER, PictureSet, labelling, measure
from fer_core.align.face_extractor import CpuFaceExtractor
from fer_core.align.face_search import FaceSearch
from fer_core.detect.builtin.detector import BuiltinDetector
from fer_core.min_face import MinFace

HEAD = [180.0, 62.0, 272.0, 177.0]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Two photographs as the development data have them."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "photos" / "afw").mkdir(parents=True)
    Image.fromarray(data.astronaut()).save(folder / "photos" / "afw" / "one.jpg", quality=95)
    Image.fromarray(data.astronaut()[:, ::-1]).save(folder / "photos" / "two.jpg", quality=95)
    (folder / "photos" / "afw" / "annotations.json").write_text(json.dumps({"one.jpg": {"boxes_xyxy": [HEAD]}}))
    (folder / "photos" / "boxes_xyxy.json").write_text(json.dumps({"two.jpg": [[512 - HEAD[2], HEAD[1], 512 - HEAD[0], HEAD[3]]]}))
    return folder


def test_faces_lie_where_the_boxes_say_and_the_counts_follow(shared, tmp_path):
    boxes = compose(annotated(shared), tmp_path / "composed", 3, 1.2)
    assert [len(each) for each in boxes.values()] == [1, 4, 9]
    assert json.loads((tmp_path / "composed" / "boxes_xyxy.json").read_text()) == boxes
    assert {cv2.imread(str(file)).shape for file in (tmp_path / "composed").glob("*.jpg")} == {(949, 1265, 3)}
    extractor = CpuFaceExtractor(BuiltinDetector())
    works = {
        f"builtin, {EARLIER}": labelling(extractor, FaceSearch(None, 16.0)),
        "builtin, 1%": labelling(extractor, FaceSearch(MinFace.parse("1%"), 16.0)),
        "builtin, 100": labelling(extractor, FaceSearch(MinFace.parse("100"), 16.0)),
    }
    composed = PictureSet("composed", 0.4, [(tmp_path / "composed" / name, each) for name, each in boxes.items()])
    every, default, large = measure(composed, works).values()
    assert (every.pictures, every.annotated, every.asked) == (3, 14, 0)
    assert (default.asked, default.annotated) == (14, 14)
    assert default.found == default.asked_found >= 12
    assert large.asked == sum(bool(min(box[2] - box[0], box[3] - box[1]) >= 100) for each in boxes.values() for box in each) == 1
    assert large.found == large.asked_found == 1
    assert default.row("name").startswith("| name | ")
    assert np.isfinite(default.seconds)
