import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fer_core.align.aligner import TEMPLATE, align_one
from fer_core.faceset.framing import ENLARGED_SIDE, enlarge, find_points, frame, mean_points
from fer_core.types import Faces
from tests.support.made_faces import faces

WHERE = np.array([[0.3, 0.3], [0.7, 0.35], [0.5, 0.55], [0.35, 0.72], [0.65, 0.78]])


def dotted(width: int, height: int, points: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(H, W, 3) black with a soft white dot at each of the points; pixel centres at whole numbers."""
    y, x = np.mgrid[:height, :width]
    light = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / 2 / 1.2**2) for px, py in points)
    return np.repeat((255 * np.clip(light, 0, 1)).astype(np.uint8)[..., None], 3, -1)


class DotDetector:
    """Finds the dots of `dotted`, top to bottom, by their centres of light: sub-pixel, in whatever picture it is given."""

    identity = "dots"

    def detect(self, pixels: NDArray[np.uint8], side: int | None = None, /) -> Faces:
        # what exceeds the threshold, not the light itself: a pixel that only just passes must not pull the centre by a tenth of a pixel
        light = np.maximum(pixels[..., 0].astype(np.float64) - 30, 0)
        count, areas = cv2.connectedComponents((light > 0).astype(np.uint8))
        y, x = np.mgrid[: light.shape[0], : light.shape[1]]
        found = [[(v * light)[areas == i].sum() / light[areas == i].sum() for v in (x, y)] for i in range(1, count)]
        assert len(found) == 5
        points = np.array(sorted(found, key=lambda p: p[1]), np.float32)
        return Faces(np.array([[*points.min(0), *points.max(0)]], np.float32), points[None], np.ones(1, np.float32))


@settings(deadline=None, max_examples=25)
@given(st.integers(40, 230), st.integers(40, 230), st.floats(-2, 2), st.floats(-2, 2))
@example(48, 48, 0.0, 0.0)
@example(48, 48, 0.5, -0.5)
@example(100, 41, 0.0, 0.0)
@example(73, 183, 0.0, 2.0)
def test_points_map_back_to_the_picture_they_came_from(width: int, height: int, dx: float, dy: float) -> None:
    points = WHERE * [width, height] + [dx, dy]
    found = find_points(dotted(width, height, points), DotDetector())
    assert found is not None
    assert found.dtype == np.float32
    assert np.abs(found - points).max() < 0.1  # forgetting that pixel centres stand at whole numbers would cost 0.375 at 48 px


@pytest.mark.parametrize(("width", "height"), [(48, 48), (10, 60), (192, 20), (1, 1), (1, 190), (1, 1000)])
def test_small_pictures_are_enlarged(width: int, height: int) -> None:
    big = enlarge(np.zeros((height, width, 3), np.uint8))
    inner = np.array(big.pixels.shape[:2]) - 2 * big.padding
    assert inner.max() == max(ENLARGED_SIDE, height)
    assert inner.min() >= 1
    assert max(big.factors) == pytest.approx(inner.max() / max(width, height))


def test_large_pictures_keep_their_size_and_repeat_their_border() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 210, 3), np.uint8)
    big = enlarge(pixels)
    pad = big.padding
    assert (big.factors, pad) == ((1, 1), 100)
    assert np.array_equal(big.pixels[pad:-pad, pad:-pad], pixels)
    assert (big.pixels[0, pad:-pad] == pixels[0]).all()
    assert np.allclose(big.back(np.array([[100.0, 105.0]], np.float32)), [[0, 5]])


class Told:
    """Returns given faces."""

    identity = "told"

    def __init__(self, boxes: list[list[float]]) -> None:
        points = [[[b[0], b[1]]] * 5 for b in boxes]
        self.faces = (
            Faces(np.array(boxes, np.float32), np.array(points, np.float32), np.ones(len(boxes), np.float32)) if boxes else Faces.none()
        )

    def detect(self, pixels: NDArray[np.uint8], side: int | None = None, /) -> Faces:
        return self.faces


def test_no_face() -> None:
    assert find_points(np.zeros((48, 48, 3), np.uint8), Told([])) is None


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2]])
def test_of_several_faces_the_large_central_one(order: list[int]) -> None:
    central, aside, small = [110.0, 100, 210, 220], [0.0, 0, 100, 120], [150.0, 150, 170, 175]  # of an enlarged 320 x 320
    boxes = [central, aside, small]
    found = find_points(np.zeros((192, 192, 3), np.uint8), Told([boxes[i] for i in order]))
    assert found is not None
    assert np.allclose(found[0], [110 - 64, 100 - 64])


def test_usual_points_are_the_median_face() -> None:
    rng = np.random.default_rng(0)
    found = (WHERE + rng.normal(0, 0.01, (200, 5, 2))).astype(np.float32)
    found[:20] = 9  # a tenth of the faces is found somewhere absurd
    usual = mean_points(found)
    assert (usual.shape, usual.dtype) == ((5, 2), np.float32)
    assert np.abs(usual - WHERE).max() < 0.01


def test_usual_points_without_any_face_look_like_a_face() -> None:
    left, right, nose, mouth_left, mouth_right = mean_points(np.zeros((0, 5, 2), np.float32))
    assert 0 < left[0] < nose[0] < right[0] < 1
    assert left[1] < nose[1] < mouth_left[1] < 1
    assert left[0] < mouth_left[0] < mouth_right[0] < right[0]


def test_frame_is_the_aligner() -> None:
    rgb = np.repeat(faces(1)[0][..., None], 3, -1)
    assert np.array_equal(frame(rgb, TEMPLATE), rgb)
    points = TEMPLATE * 0.9 + 4
    assert np.array_equal(frame(rgb, points), align_one(rgb, points))
