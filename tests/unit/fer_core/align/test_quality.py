"""Quality: pose obeys geometry, sharpness falls with blur and not with size, exposure with light and not with size."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.align.aligner import TEMPLATE, align_one
from fer_core.align.quality import CRUSHED, HEAD, INNER, assess, exposure, head_pose, sharpness
from fer_core.types import CROP_SIZE, Faces

SHARED = Path(os.environ.get("FERFLOW_SHARED", Path(__file__).resolve().parents[5] / "shared"))


def rotation(yaw, pitch, roll):
    """The rotation of a head, signs as in types.Quality: x right, y down, z away from the camera."""
    y, p, r = np.radians([-yaw, -pitch, roll])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def view(yaw, pitch, roll, size=60.0, at=(200.0, 100.0)):
    return (size * (HEAD @ rotation(yaw, pitch, roll).T)[:, :2] + at)[None].astype(np.float32)


def turned(points, degrees):
    a = np.radians(degrees)
    return points @ np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]).T.astype(np.float32)


def apart(a, b):
    """Angle between two directions in degrees."""
    return np.abs((a - b + 180) % 360 - 180)


angles = st.floats(-60, 60)


@settings(deadline=None, max_examples=80)
@given(angles, st.floats(-40, 40), st.floats(-170, 170), st.floats(8, 900))
def test_pose_of_a_seen_head_is_found(yaw, pitch, roll, size):
    found = head_pose(view(yaw, pitch, roll, size))[0]
    assert apart(found, np.array([yaw, pitch, roll])).max() < 1.0


def test_signs_are_those_of_the_record():
    """The nose goes where the face turns; a head that leans clockwise has its right eye lower in the image."""
    right, up, leaning = view(30, 0, 0)[0], view(0, 20, 0)[0], view(0, 0, 20)[0]
    frontal = view(0, 0, 0)[0]
    assert right[2, 0] - right[:2, 0].mean() > 5
    assert up[2, 1] - up[:2, 1].mean() < frontal[2, 1] - frontal[:2, 1].mean() - 5
    assert leaning[1, 1] > leaning[0, 1] + 5


noisy = st.lists(st.floats(-4, 4), min_size=10, max_size=10)


@settings(deadline=None, max_examples=60)
@given(angles, st.floats(-30, 30), noisy, st.floats(-180, 180))
def test_turning_the_picture_changes_roll_alone(yaw, pitch, noise, degrees):
    points = view(yaw, pitch, 0) + np.array(noise, np.float32).reshape(1, 5, 2)
    before, after = head_pose(points)[0], head_pose(turned(points, degrees))[0]
    assert apart(after[2], before[2] + degrees) < 0.1
    assert np.abs(after[:2] - before[:2]).max() < 0.1


@settings(deadline=None, max_examples=60)
@given(angles, st.floats(-30, 30), angles, noisy)
def test_mirroring_negates_yaw_and_roll(yaw, pitch, roll, noise):
    points = view(yaw, pitch, roll) + np.array(noise, np.float32).reshape(1, 5, 2)
    mirrored = (points * np.array([-1, 1], np.float32))[:, [1, 0, 2, 4, 3]]
    assert np.abs(head_pose(mirrored)[0] - head_pose(points)[0] * [-1, 1, -1]).max() < 0.1


def test_pose_knows_no_place_and_no_size():
    points = view(25, -10, 15)
    assert np.abs(head_pose(points * 7 + 300) - head_pose(points)).max() < 0.01


@pytest.mark.parametrize("points", [np.full((1, 5, 2), 3.0), np.full((1, 5, 2), np.nan), np.full((1, 5, 2), np.inf)])
def test_points_without_a_pose_give_zeros(points):
    assert (head_pose(points.astype(np.float32)) == 0).all()
    both = np.concatenate([points, view(20, 0, 0)]).astype(np.float32)
    assert head_pose(both)[1, 0] == pytest.approx(20, abs=1)


FRONTAL = view(0, 0, 0, size=35.0, at=(56.0, 52.0))[0]


def textured(side):
    """A picture with detail down to the pixel: noise, and edges."""
    noise = np.random.default_rng(5).integers(0, 90, (side, side, 3)).astype(np.uint8)
    for x in range(0, side, max(2, side // 14)):
        cv2.line(noise, (x, 0), (side - x, side), (220, 200, 180), 1)
    return noise


def test_sharpness_falls_with_every_blur():
    picture = textured(CROP_SIZE)
    values = [sharpness(picture if sigma == 0 else cv2.GaussianBlur(picture, (0, 0), sigma), FRONTAL) for sigma in (0, 0.7, 1.5, 3, 6)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.9
    assert values[-1] < 0.2


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_blank_crop_is_not_sharp(grey):
    assert sharpness(np.full((CROP_SIZE, CROP_SIZE, 3), grey, np.uint8), FRONTAL) == 0


def test_brightness_and_contrast_are_not_sharpness():
    picture = cv2.GaussianBlur(textured(CROP_SIZE), (0, 0), 1)
    assert sharpness((picture * 0.5 + 60).astype(np.uint8), FRONTAL) == pytest.approx(sharpness(picture, FRONTAL), abs=0.06)


def test_a_small_crisp_face_is_as_sharp_as_a_large_one():
    """And a face that was shrunk and enlarged again is not."""
    from skimage import data

    picture, points = data.astronaut(), np.array([[202, 103], [245, 105], [220, 127], [201, 140], [242, 141]], np.float32)
    whole = sharpness(align_one(picture, points), points)
    for factor in (0.7, 0.5, 0.35):
        small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        there = ((points + 0.5) * factor - 0.5).astype(np.float32)
        assert abs(sharpness(align_one(small, there), there) - whole) < 0.25
    enlarged = cv2.resize(small, (512, 512), interpolation=cv2.INTER_CUBIC)
    assert sharpness(align_one(enlarged, points), points) < whole - 0.2


def test_assess_fills_every_column():
    picture = textured(200)
    points = np.stack([FRONTAL, view(30, 0, 10, 30, (90, 90))[0]])
    faces = Faces(np.array([[0, 0, 40, 90], [10, 20, 20, 30]], np.float32), points, np.ones(2, np.float32))
    quality = assess(faces, np.stack([align_one(picture, five) for five in points]))
    assert quality.face_size_px.tolist() == [60, 10]
    assert quality.yaw_deg[1] == pytest.approx(30, abs=1)
    assert quality.roll_deg[1] == pytest.approx(10, abs=1)
    for column in ("face_size_px", "sharpness", "exposure", "yaw_deg", "pitch_deg", "roll_deg"):
        values = getattr(quality, column)
        assert values.shape == (2,)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()


def test_an_image_without_faces_has_an_empty_quality():
    quality = assess(Faces.none(), np.zeros((0, CROP_SIZE, CROP_SIZE, 3), np.uint8))
    for column in ("face_size_px", "sharpness", "exposure", "yaw_deg", "pitch_deg", "roll_deg"):
        assert getattr(quality, column).shape == (0,)


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not beside the repository")
def test_yaw_agrees_with_annotated_heads():
    from fer_core.detect.base import box_iou
    from fer_core.detect.yunet import YuNet

    detector = YuNet(SHARED / "data" / "detectors" / "face_detection_yunet_2023mar.onnx")
    folder = SHARED / "data" / "photos" / "afw"
    annotated = json.loads((folder / "annotations.json").read_text())
    errors = []
    for name in sorted(annotated)[::9]:
        faces = detector.detect(cv2.cvtColor(cv2.imread(str(folder / name)), cv2.COLOR_BGR2RGB))
        overlap = box_iou(np.array(annotated[name]["boxes_xyxy"]), faces.boxes)
        for index, face in enumerate(overlap.argmax(axis=1)):
            if overlap[index, face] >= 0.4:
                truth = np.degrees(annotated[name]["pose_yaw_pitch_roll_rad"][index][0])
                errors.append(abs(head_pose(faces.points[face][None])[0, 0] - truth))
    assert len(errors) > 15
    assert np.mean(errors) < 10


def test_exposure_counts_what_can_be_seen():
    """A curtain of black or white over a grey face: what it leaves is its exposure."""
    for hidden in (0, 255, 10, 250):
        crop = np.full((CROP_SIZE, CROP_SIZE, 3), 128, np.uint8)
        crop[:, : 14 + 63] = hidden  # three quarters of the inner face
        assert exposure(crop) == pytest.approx(0.25)
        crop[:] = hidden
        assert exposure(crop) == 0
    for grey in (16, 40, 128, 240):
        assert exposure(np.full((CROP_SIZE, CROP_SIZE, 3), grey, np.uint8)) == 1


def test_catchlights_background_and_a_full_red_channel_are_well_exposed():
    crop = np.full((CROP_SIZE, CROP_SIZE, 3), 128, np.uint8)
    crop[30:108:9, 20:98:9] = 255
    crop[:24], crop[108:], crop[:, :14], crop[:, 98:] = 0, 255, 255, 0
    assert exposure(crop) == 1
    assert exposure(np.full_like(crop, (255, 170, 120))) == 1


def lit(scale, degrees, brightness, slope, towards):
    """A face of so many pixels per template pixel, drawn in its own light: smooth features under a ramp of light, with its five points."""
    side = int(np.ceil(1.6 * CROP_SIZE * scale))
    a = scale * np.exp(1j * np.radians(degrees))
    ys, xs = np.mgrid[:side, :side].astype(np.float64)
    at = (xs + 1j * ys - (side - 1) / 2 * (1 + 1j)) / a + 56 * (1 + 1j)
    u, v = at.real, at.imag
    across = (u - 56) * np.cos(towards) + (v - 66) * np.sin(towards)
    grey = brightness + slope * across + 12 * np.sin(u / 7) * np.cos(v / 8)
    points = (TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1] - 56 * (1 + 1j)) * a + (side - 1) / 2 * (1 + 1j)
    picture = np.repeat(np.rint(grey).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return picture, np.stack([points.real, points.imag], axis=1).astype(np.float32)


light = st.tuples(st.floats(-20, 275), st.floats(-6, 6), st.floats(-np.pi, np.pi))


@settings(deadline=None, max_examples=60)
@given(light, st.floats(np.log(0.25), np.log(6)).map(np.exp), st.floats(-180, 180))
def test_exposure_knows_no_size(light, scale, degrees):
    """A face of 23 px (scale 0.25) or 560 px (scale 6), upright or turned, is as well exposed as the same face of 93 px."""
    usual, points = lit(1, 0, *light)
    other, there = lit(scale, degrees, *light)
    expected = exposure(align_one(usual, points))
    assert 0 <= expected <= 1
    assert exposure(align_one(other, there)) == pytest.approx(expected, abs=0.05)


@settings(deadline=None, max_examples=40)
@given(light, st.floats(0.05, 0.95))
def test_less_light_never_crushes_less(light, factor):
    crop = align_one(*lit(1, 0, *light))
    darker = (crop * factor).astype(np.uint8)
    crushed = cv2.resize(crop[INNER][..., 0].astype(np.float32), (28, 28), interpolation=cv2.INTER_AREA) < CRUSHED
    assert exposure(darker) <= 1 - crushed.mean() + 1e-6


def test_faces_without_points_are_not_exposed():
    assert exposure(align_one(np.full((50, 50, 3), 128, np.uint8), np.full((5, 2), 7, np.float32))) == 0
