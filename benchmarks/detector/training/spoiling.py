"""What happens to scenes between the world and the file: colour, light, focus, distance, grain, compression, things in the way."""

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.detector.training.placing import Marks

Pixels = NDArray[np.uint8]
GREY, TINT, LIGHT, BLUR, DISTANT, GRAIN, JPEG, COVERED = 0.15, 0.5, 0.7, 0.15, 0.15, 0.15, 0.35, 0.22
"""Shares of scenes, of faces for the last."""


def corrupt(scene: Pixels, draws: np.random.Generator) -> Pixels:
    """(H, W, 3) RGB -> the same shape."""
    if draws.random() < TINT:
        scene = _tinted(scene, draws)
    if draws.random() < GREY:
        scene = np.asarray(cv2.cvtColor(cv2.cvtColor(scene, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
    if draws.random() < LIGHT:
        scene = _lit(scene, draws)
    if draws.random() < DISTANT:
        scene = _distant(scene, draws)
    if draws.random() < BLUR:
        scene = _blurred(scene, draws)
    if draws.random() < GRAIN:
        scene = _grainy(scene, draws)
    if draws.random() < JPEG:
        _, data = cv2.imencode(".jpg", np.ascontiguousarray(scene[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, int(draws.integers(20, 85))])
        scene = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)
    return scene


def occlude(scene: Pixels, marks: Marks, draws: np.random.Generator) -> Pixels:
    """Some faces behind a disc or a piece of the scene, or with one side hidden as by a head in front: half the face at most."""
    height, width = scene.shape[:2]
    for box in marks.boxes[draws.random(len(marks.boxes)) < COVERED]:
        low, high = _beside(box, draws) if draws.random() < 0.5 else _inside(box, draws)
        low, high = (np.clip(corner, 0, [width, height]).astype(int) for corner in (low, high))
        if (high - low).min() < 1:
            continue
        if draws.random() < 0.5:
            tone = tuple(int(value) for value in draws.integers(0, 256, 3))
            middle, half = (low + high) // 2, (high - low) // 2
            cv2.ellipse(scene, middle.tolist(), half.tolist(), float(draws.uniform(0, 180)), 0, 360, tone, -1)
        else:
            size = high - low
            x = int(draws.integers(0, width - size[0] + 1))
            y = int(draws.integers(0, height - size[1] + 1))
            scene[low[1] : high[1], low[0] : high[0]] = scene[y : y + size[1], x : x + size[0]].copy()
    return scene


def _inside(box: NDArray[np.floating], draws: np.random.Generator) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Two corners of a part of a box, anywhere in it."""
    side = box[2:] - box[:2]
    middle = box[:2] + side * (0.5 + draws.uniform(-0.45, 0.45, 2))
    half = side * draws.uniform(0.12, 0.32, 2)
    return middle - half, middle + half


def _beside(box: NDArray[np.floating], draws: np.random.Generator) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Two corners of what hides one side of a box from end to end: the lower one half of the time, never the brows'."""
    side, depth = box[2:] - box[:2], float(draws.uniform(0.2, 0.5))
    low, high = box[:2] - 0.1 * side, box[2:] + 0.1 * side
    hides = draws.random()
    if hides < 0.5:
        low[1] = box[3] - depth * side[1]
    elif hides < 0.75:
        high[0] = box[0] + depth * side[0]
    else:
        low[0] = box[2] - depth * side[0]
    return low, high


def _tinted(scene: Pixels, draws: np.random.Generator) -> Pixels:
    """Saturation and white balance."""
    grey = cv2.cvtColor(cv2.cvtColor(scene, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    mixed = cv2.addWeighted(scene, saturation := float(draws.uniform(0.3, 1.4)), grey, 1 - saturation, 0)
    gains = draws.uniform(0.75, 1.25, 3)
    table = np.clip(np.arange(256)[:, None] * gains, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(mixed, table.reshape(1, 256, 3)), np.uint8)


def _lit(scene: Pixels, draws: np.random.Generator) -> Pixels:
    """Brightness, contrast and gamma; one time in eight it is night."""
    night = draws.random() < 0.125
    gamma = float(np.exp(draws.uniform(-0.5, 0.5)))
    gain, lift = (draws.uniform(0.15, 0.5), draws.uniform(0, 10)) if night else (draws.uniform(0.6, 1.35), draws.uniform(-30, 30))
    table = np.clip(255 * (np.arange(256) / 255) ** gamma * gain + lift, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(scene, table), np.uint8)


def _distant(scene: Pixels, draws: np.random.Generator) -> Pixels:
    """Shrunk and enlarged again."""
    share = float(draws.uniform(0.35, 0.8))
    small = cv2.resize(scene, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    method = cv2.INTER_CUBIC if draws.random() < 0.5 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(small, scene.shape[1::-1], interpolation=method), np.uint8)


def _blurred(scene: Pixels, draws: np.random.Generator) -> Pixels:
    """Out of focus, or moved along a line."""
    if draws.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(scene, (0, 0), float(draws.uniform(0.5, 2.0))), np.uint8)
    length = int(draws.integers(3, 9))
    kernel = np.zeros((length, length), np.float32)
    angle = draws.uniform(0, np.pi)
    reach = (length - 1) / 2 * np.array([np.cos(angle), np.sin(angle)])
    low, high = ((length - 1) / 2 - reach).round().astype(int), ((length - 1) / 2 + reach).round().astype(int)
    cv2.line(kernel, (int(low[0]), int(low[1])), (int(high[0]), int(high[1])), 1.0)
    return np.asarray(cv2.filter2D(scene, -1, kernel / kernel.sum()), np.uint8)


def _grainy(scene: Pixels, draws: np.random.Generator) -> Pixels:
    """Gaussian noise of up to 16 grey levels."""
    grain = draws.standard_normal(scene.shape, np.float32) * np.float32(draws.uniform(2, 16))
    return np.clip(scene + grain, 0, 255).astype(np.uint8)
