"""The built-in detector around its network: cut edges, averaging, many pictures at once, odd pictures, large ones."""

import threading

import cv2
import numpy as np
import pytest
from skimage import data

from fer_core.detect.base import box_iou
from fer_core.detect.builtin.detector import BuiltinDetector, averaged
from fer_core.detect.builtin.weights import SHIPPED
from fer_core.detect.image_pyramid import EDGE, Tile
from tests.support import made_faces  # noqa: F401  (one thread)

HEAD = np.array([[180, 62, 272, 177.0]])
"""(1, 4) the astronaut's face, brows to chin."""


@pytest.fixture(scope="module")
def detector():
    return BuiltinDetector()


def row(box, score=0.9):
    """(15,) with points on a cross in the box."""
    x0, y0, x1, y1 = box
    across, down = (x1 - x0) * np.array([0.3, 0.7, 0.5, 0.35, 0.65]), (y1 - y0) * np.array([0.3, 0.3, 0.5, 0.8, 0.8])
    return [*box, *np.stack([x0 + across, y0 + down], 1).reshape(-1), score]


def rows(*each):
    return np.array(each, np.float32).reshape(-1, 15)


def piece(cut, origin=(0, 0), scale=(1, 1)):
    return Tile(np.zeros((64, 64, 3), np.uint8), np.array(origin, np.float32), np.array(scale, np.float32), np.array(cut, np.float32))


def sound(faces, picture):
    """Whether nothing is infinite and every box is inside."""
    height, width = picture.shape[:2]
    columns = (faces.boxes, faces.points, faces.scores)
    x0, y0, x1, y1 = faces.boxes.T
    inside = (x0 >= 0) & (y0 >= 0) & (x1 <= width) & (y1 <= height) & (x0 < x1) & (y0 < y1)
    return all(np.isfinite(column).all() for column in columns) and inside.all() and ((faces.scores > 0) & (faces.scores <= 1)).all()


def agree(faces, others, tolerance=0.05):
    assert len(faces) == len(others)
    assert np.allclose(faces.boxes, others.boxes, atol=tolerance)
    assert np.allclose(faces.points, others.points, atol=tolerance)
    assert np.allclose(faces.scores, others.scores, atol=1e-3)


@pytest.fixture(scope="module")
def turned():
    """The astronaut turned by 15 degrees about her face, and where the middle of the face is then."""
    centre = (HEAD[0, :2] + HEAD[0, 2:]) / 2
    return cv2.warpAffine(data.astronaut(), cv2.getRotationMatrix2D(tuple(centre), 15, 1), (512, 512)), centre


class TestPlacing:
    @pytest.mark.parametrize("edge", range(4))
    def test_a_box_at_a_cut_edge_is_dropped(self, edge):
        box = np.array([20, 20, 44, 44.0])
        cut = np.full(4, [-np.inf, -np.inf, np.inf, np.inf])
        cut[edge] = 0 if edge < 2 else 64
        inwards = 1 if edge < 2 else -1
        box[edge] = cut[edge] + inwards * (EDGE - 0.5)
        near = rows(row(box))
        assert len(piece(cut).placed(near)) == 0
        box[edge] = cut[edge] - inwards * 30
        assert len(piece(cut).placed(rows(row(box)))) == 0
        box[edge] = cut[edge] + inwards * (EDGE + 0.5)
        assert len(piece(cut).placed(rows(row(box)))) == 1
        cut[edge] = -np.inf if edge < 2 else np.inf
        assert len(piece(cut).placed(near)) == 1

    def test_the_rest_keep_their_order(self):
        found = rows(row((20, 20, 40, 40), 0.6), row((1, 20, 40, 40), 0.9), row((22, 20, 40, 40), 0.8))
        assert piece((0, 0, 64, 64)).placed(found)[:, 14].tolist() == pytest.approx([0.6, 0.8])

    def test_numbers_become_those_of_the_picture(self):
        found = rows(row((20, 24, 40, 44), 0.7))
        placed = piece((-np.inf, -np.inf, np.inf, np.inf), (100, 200), (2, 3)).placed(found.copy())
        assert placed[0, :4].tolist() == [240, 672, 280, 732]
        points = (found[0, 4:14].reshape(5, 2) + np.array([100, 200])) * [2, 3]
        assert np.allclose(placed[0, 4:14].reshape(5, 2), points)
        assert placed[0, 14] == found[0, 14]

    def test_nothing_stays_nothing(self):
        assert piece((0, 0, 64, 64)).placed(rows()).shape == (0, 15)

    def test_no_number_is_no_face(self):
        assert len(piece((0, 0, 64, 64)).placed(rows(row((np.nan, 20, 40, 40))))) == 0


class TestAveraging:
    def test_findings_that_agree_are_weighted_by_score(self):
        found = rows(row((0, 0, 100, 100), 0.9), row((10, 0, 110, 100), 0.3), row((300, 300, 400, 400), 0.6))
        together = averaged(found, np.array([0, 2]))
        assert together.dtype == np.float32
        assert np.allclose(together[0, :14], 0.75 * found[0, :14] + 0.25 * found[1, :14], atol=1e-3)
        assert np.allclose(together[1], found[2], atol=1e-3)

    def test_the_score_stays_that_of_the_best(self):
        found = rows(row((0, 0, 100, 100), 0.9), row((1, 0, 101, 100), 0.5))
        assert averaged(found, np.array([0]))[0, 14] == np.float32(0.9)

    def test_what_overlaps_a_little_does_not_count(self):
        found = rows(row((0, 0, 100, 100), 0.9), row((40, 0, 140, 100), 0.8))
        assert box_iou(found[:1, :4], found[1:, :4])[0, 0] > 0.4
        assert np.allclose(averaged(found, np.array([0]))[0], found[0], atol=1e-3)

    def test_nothing_stays_nothing(self):
        assert averaged(rows(), np.zeros(0, np.intp)).shape == (0, 15)


class TestManyPictures:
    def test_each_gets_what_it_gets_alone(self, detector):
        picture = data.astronaut()
        pictures = [
            picture,
            picture[:300, 100:400],
            np.zeros((1, 1, 3), np.uint8),
            picture[:, ::-1],
            picture[40:200, 150:300],
            np.full((600, 300, 3), 90, np.uint8),
            cv2.resize(picture, (900, 1400)),
            picture,
        ]
        together = detector.detect_many(pictures)
        assert len(together) == len(pictures)
        for faces, each in zip(together, pictures, strict=True):
            agree(faces, detector.detect(each))
        found = [box_iou(HEAD, together[index].boxes).max() > 0.5 for index in (0, 7)]
        assert found == [True, True]
        assert len(together[2]) == len(together[5]) == 0

    def test_more_than_a_batch(self, detector):
        picture = cv2.resize(data.astronaut(), (160, 160), interpolation=cv2.INTER_AREA)
        together = detector.detect_many([picture] * 20)
        assert len(together) == 20
        assert len(together[0]) >= 1
        for faces in together:
            agree(faces, together[0])

    def test_none(self, detector):
        assert detector.detect_many([]) == []


class TestOddPictures:
    @pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 3), (31, 33), (200, 700)])
    @pytest.mark.parametrize("level", [0, 128, 255])
    def test_one_colour_has_no_face(self, detector, shape, level):
        assert len(detector.detect(np.full((*shape, 3), level, np.uint8))) == 0

    @pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2), (33, 31), (200, 700)])
    def test_noise_gives_sound_answers(self, detector, shape):
        picture = np.random.default_rng(shape).integers(0, 256, (*shape, 3), dtype=np.uint8)
        assert sound(detector.detect(picture), picture)

    def test_grey(self, detector):
        grey = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)
        picture = np.repeat(grey[..., None], 3, 2)
        faces = detector.detect(picture)
        assert sound(faces, picture)
        assert box_iou(HEAD, faces.boxes[:1]).max() > 0.6

    def test_turned(self, detector, turned):
        picture, centre = turned
        faces = detector.detect(picture)
        assert sound(faces, picture)
        best = faces.boxes[0]
        assert np.hypot(*((best[:2] + best[2:]) / 2 - centre)) < 15
        eyes = faces.points[0, 1] - faces.points[0, 0]
        assert np.degrees(np.arctan2(eyes[1], eyes[0])) == pytest.approx(3 - 15, abs=7)  # she holds her head a little askew

    def test_a_view_without_its_own_memory(self, detector):
        picture = data.astronaut()
        agree(detector.detect(picture[::-1][::-1]), detector.detect(picture), 0)

    def test_a_face_that_the_border_cuts(self, detector):
        picture = data.astronaut()[:, 215:]
        faces = detector.detect(picture)
        assert sound(faces, picture)
        assert len(faces) >= 1
        assert faces.boxes[0, 0] < 10

    def test_small_faces_in_twelve_megapixels(self, detector):
        """20 to 24 px: one in the middle of a tile, one on the seam of two, one in the corner of the picture."""
        y, x = np.mgrid[:3000, :4000].astype(np.float32)
        picture = np.stack([60 + x / 40, 120 + y / 60, 200 - x / 60], -1).astype(np.uint8)
        heads = []
        for side, left, top in ((20, 2000, 1500), (22, 1225, 1200), (24, 3881, 2881)):
            share = side / np.sqrt(np.prod(HEAD[0, 2:] - HEAD[0, :2]))
            small = cv2.resize(data.astronaut(), None, fx=share, fy=share, interpolation=cv2.INTER_AREA)[: 3000 - top, : 4000 - left]
            picture[top : top + small.shape[0], left : left + small.shape[1]] = small
            heads.append(HEAD[0] * share + [left, top, left, top])
        faces = detector.detect(picture)
        assert sound(faces, picture)
        best = box_iou(np.array(heads), faces.boxes)
        assert best.max(axis=1).min() > 0.5
        assert (faces.scores[best.argmax(axis=1)] > 0.6).all()

    def test_a_finest_look_that_is_too_coarse_misses_them(self):
        """The pyramid is what finds small faces."""
        picture = np.full((1500, 2000, 3), 120, np.uint8)
        small = cv2.resize(data.astronaut(), (110, 110), interpolation=cv2.INTER_AREA)
        picture[700:810, 900:1010] = small
        head = HEAD * 110 / 512 + [900, 700, 900, 700]
        assert box_iou(head, BuiltinDetector().detect(picture).boxes).max(initial=0) > 0.5
        assert box_iou(head, BuiltinDetector(largest_side=400).detect(picture).boxes).max(initial=0) < 0.5


def test_the_identity_names_content_and_settings_but_no_place(tmp_path):
    copy = tmp_path / "other.safetensors"
    copy.write_bytes(SHIPPED.read_bytes())
    identity = BuiltinDetector().identity
    assert BuiltinDetector(copy).identity == identity
    assert "/" not in identity
    assert str(tmp_path) not in identity
    others = {BuiltinDetector(score_threshold=0.4).identity, BuiltinDetector(largest_side=1000).identity, identity}
    assert len(others) == 3


def test_a_higher_threshold_finds_a_part_of_the_same(detector):
    picture = data.astronaut()
    low, high = BuiltinDetector(score_threshold=0.3).detect(picture), BuiltinDetector(score_threshold=0.7).detect(picture)
    assert (high.scores >= 0.7).all()
    assert len(low) >= len(detector.detect(picture)) >= len(high) >= 1


def test_one_detector_a_thread_agrees():
    picture, found = data.astronaut(), {}

    def look(number):
        found[number] = BuiltinDetector().detect(picture)

    threads = [threading.Thread(target=look, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    agree(found[0], found[1], 0)
