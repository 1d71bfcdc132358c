"""Every detector on real pictures, on odd ones, and against annotated photographs."""

import json
import os
import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_core.detect.base import box_iou
from fer_core.detect.registry import build
from fer_core.errors import DetectorError

SHARED = Path(os.environ.get("FERFLOW_SHARED", Path(__file__).resolve().parents[5] / "shared"))
DETECTORS = SHARED / "data" / "detectors"
FILES = {
    "yunet": DETECTORS / "face_detection_yunet_2023mar.onnx",
    "scrfd": DETECTORS / "scrfd_500m_kps.onnx",
    "scrfd-2.5g": DETECTORS / "scrfd_2.5g_kps.onnx",
}
needs_files = [pytest.mark.shared_data, pytest.mark.skipif(not DETECTORS.is_dir(), reason="the shared data are not beside the repository")]
KINDS = ["builtin", *(pytest.param(kind, marks=needs_files) for kind in ("yunet", "scrfd"))]
ASTRONAUT = np.array([[202, 103], [245, 105], [220, 127], [201, 140], [242, 141]], np.float32)


def detector(kind):
    return build(kind if kind == "builtin" else f"{kind.partition('-')[0]}:{FILES[kind]}")


def pictures():
    for height, width in ((1, 1), (1, 5000), (5000, 1), (2, 3), (20, 20), (31, 33), (112, 112)):
        for grey in (0, 255):
            yield np.full((height, width, 3), grey, np.uint8)
        yield np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(params=KINDS)
def any_detector(request):
    return detector(request.param)


def test_odd_pictures_give_sound_answers(any_detector):
    for picture in pictures():
        faces = any_detector.detect(picture)
        assert len(faces) <= 2
        assert np.isfinite(faces.points).all()


def test_the_astronaut_is_found_with_her_eyes_nose_and_mouth(any_detector):
    from skimage import data

    faces = any_detector.detect(data.astronaut())
    assert len(faces) == 1
    assert box_iou(faces.boxes, np.array([[180, 67, 270, 177]]))[0, 0] > 0.5
    assert np.hypot(*(faces.points[0] - ASTRONAUT).T).max() < 12
    assert 0 < faces.scores[0] <= 1


def test_the_same_pixels_give_the_same_faces(any_detector):
    from skimage import data

    picture = data.astronaut()
    before = any_detector.detect(picture)
    any_detector.detect(picture[:100, :300])
    after = any_detector.detect(picture.copy())
    for column in ("boxes", "points", "scores"):
        assert np.array_equal(getattr(before, column), getattr(after, column))


@pytest.mark.parametrize("side", [224, 512, 1600, 2600])
def test_a_finest_level_is_what_was_asked_for(any_detector, side):
    """Also one that is cut into tiles."""
    from skimage import data

    faces = any_detector.detect(data.astronaut(), side)
    assert box_iou(faces.boxes[:1], np.array([[180, 62, 272, 177]]))[0, 0] > 0.5
    assert np.hypot(*(faces.points[0] - ASTRONAUT).T).max() < 12
    small = np.full((1000, 1600, 3), 120, np.uint8)
    small[100:200, 1450:1550] = cv2.resize(data.astronaut(), (100, 100), interpolation=cv2.INTER_AREA)  # a face of 18 px
    head = np.array([[1450 + 35, 100 + 12, 1450 + 53, 100 + 35]])
    assert (box_iou(head, any_detector.detect(small, side).boxes).max(initial=0) > 0.4) == (side >= 1600)


def test_colour_order_is_rgb(any_detector):
    """Skin in swapped colours is less of a face."""
    from skimage import data

    pictures = [cv2.resize(data.astronaut(), (side, side), interpolation=cv2.INTER_AREA) for side in (160, 224, 300, 400)]
    scores = [[any_detector.detect(np.ascontiguousarray(each)).scores[0] for each in (picture, picture[..., ::-1])] for picture in pictures]
    assert np.mean(scores, axis=0)[0] > np.mean(scores, axis=0)[1]


def test_one_detector_a_thread_agrees():
    from skimage import data

    picture, found = data.astronaut(), []
    threads = [threading.Thread(target=lambda: found.append(detector("builtin").detect(picture))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(found[0].points, found[1].points)


@pytest.mark.shared_data
@pytest.mark.skipif(not DETECTORS.is_dir(), reason="the shared data are not beside the repository")
class TestWithFiles:
    def test_identity_names_the_file_by_content(self, tmp_path):
        for kind in ("yunet", "scrfd"):
            copy = tmp_path / "other name.onnx"
            shutil.copy(FILES[kind], copy)
            assert build(f"{kind}:{copy}").identity == detector(kind).identity
            assert str(tmp_path) not in build(f"{kind}:{copy}").identity
        assert detector("scrfd").identity != detector("scrfd-2.5g").identity

    @pytest.mark.parametrize(("kind", "file"), [("yunet", "scrfd"), ("scrfd", "yunet")])
    def test_a_file_of_another_network_is_one_sentence(self, kind, file, capfd):
        with pytest.raises(DetectorError, match=r"^not an? "):
            build(f"{kind}:{FILES[file]}")
        assert capfd.readouterr() == ("", "")

    def test_a_pack_is_found_by_name(self, tmp_path, monkeypatch):
        from skimage import data

        pack = tmp_path / ".insightface" / "models" / "mine"
        pack.mkdir(parents=True)
        shutil.copy(FILES["scrfd"], pack / "det_500m.onnx")
        (pack / "genderage.onnx").write_bytes(b"never read")
        monkeypatch.setenv("HOME", str(tmp_path))
        found = build("insightface:mine")
        assert found.identity.startswith("insightface-mine-")
        assert np.array_equal(found.detect(data.astronaut()).points, detector("scrfd").detect(data.astronaut()).points)

    @pytest.mark.parametrize("kind", ["yunet", "scrfd", pytest.param("scrfd-2.5g", marks=pytest.mark.long)])
    def test_faces_of_40_px_are_found(self, kind):
        """Shorter box side of at least 40 px, one box for one face."""
        folder, found = SHARED / "data" / "photos", detector(kind)
        hits = faces = boxes = 0
        for name, annotated in json.loads((folder / "boxes_xyxy.json").read_text()).items():
            truth = np.array(annotated)
            seen = found.detect(cv2.cvtColor(cv2.imread(str(folder / name)), cv2.COLOR_BGR2RGB)).boxes
            seen = seen[(seen[:, 2:] - seen[:, :2]).min(axis=1) >= 16]
            large = np.flatnonzero((truth[:, 2:] - truth[:, :2]).min(axis=1) >= 40)
            overlap = box_iou(truth, seen)
            matched = set()
            while overlap.size and overlap.max() >= 0.4:
                face, box = np.unravel_index(overlap.argmax(), overlap.shape)
                overlap[face], overlap[:, box] = 0, 0
                matched.add(int(face))
            hits, faces, boxes = hits + len(matched & set(large.tolist())), faces + len(large), boxes + len(seen) - len(matched)
        assert faces == 30
        assert hits / faces >= 0.85
        assert boxes / 11 < 6
