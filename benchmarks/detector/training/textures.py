"""Synthetic patterns without a face in them."""

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def texture(size: tuple[int, int], draws: np.random.Generator) -> Pixels:
    """(height, width, 3) RGB of `size` = (width, height): one colour, a slope, clouds, stripes, checks, noise, or discs and bars."""
    kind = int(draws.integers(7))
    if kind in {1, 2}:
        return _clouds(size, draws, 2 if kind == 1 else int(draws.integers(4, 40)))
    return (_flat, _noise, _shapes, _stripes, _checks)[(0, 0, 0, 1, 2, 3, 4)[kind]](size, draws)


def _flat(size: tuple[int, int], draws: np.random.Generator) -> Pixels:
    return np.broadcast_to(draws.integers(0, 256, 3).astype(np.uint8), (size[1], size[0], 3)).copy()


def _noise(size: tuple[int, int], draws: np.random.Generator) -> Pixels:
    return np.asarray(draws.integers(0, 256, (size[1], size[0], 3)), np.uint8)


def _clouds(size: tuple[int, int], draws: np.random.Generator, knots: int) -> Pixels:
    """Random colours on a coarse grid, smoothly enlarged."""
    grid = draws.integers(0, 256, (knots, knots, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(grid, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _stripes(size: tuple[int, int], draws: np.random.Generator) -> Pixels:
    y, x = np.mgrid[: size[1], : size[0]].astype(np.float32)
    angle, length = draws.uniform(0, np.pi), draws.uniform(3, 40)
    wave = 0.5 + 0.5 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / length)
    low, high = draws.integers(0, 256, (2, 3))
    return np.asarray(low + wave[..., None] * (high - low), np.uint8)


def _checks(size: tuple[int, int], draws: np.random.Generator) -> Pixels:
    y, x = np.mgrid[: size[1], : size[0]]
    side = int(draws.integers(3, 40))
    even = ((x // side + y // side) % 2)[..., None]
    low, high = draws.integers(0, 256, (2, 3))
    return np.asarray(np.where(even == 0, low, high), np.uint8)


def _shapes(size: tuple[int, int], draws: np.random.Generator) -> Pixels:
    """Discs, bars and rectangles, two dark discs side by side among them now and then: eyes without a face."""
    canvas = _clouds(size, draws, 2)
    for _ in range(int(draws.integers(3, 25))):
        x, y = (int(value) for value in draws.uniform(0, 1, 2) * size)
        reach = int(draws.integers(2, max(3, min(size) // 3)))
        tone = tuple(int(value) for value in draws.integers(0, 256, 3))
        kind = int(draws.integers(4))
        if kind == 0:
            cv2.circle(canvas, (x, y), reach, tone, -1)
        elif kind == 1:
            cv2.rectangle(canvas, (x, y), (x + reach, y + int(draws.integers(2, 2 * reach + 1))), tone, -1)
        elif kind == 2:
            end = (x + int(draws.integers(-reach, reach + 1)), y + int(draws.integers(-reach, reach + 1)))
            cv2.line(canvas, (x, y), end, tone, int(draws.integers(1, 6)))
        else:
            cv2.circle(canvas, (x, y), max(1, reach // 5), (20, 20, 20), -1)
            cv2.circle(canvas, (x + reach, y), max(1, reach // 5), (20, 20, 20), -1)
    return canvas
