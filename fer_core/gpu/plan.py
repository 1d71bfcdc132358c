"""Plan of a batch of pictures from their sizes alone: groups of one size, pyramid levels, tiles and the shapes they share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fer_core.detect.builtin.tiling import OVERLAP, STEP, TILE, sides
from fer_core.detect.image_pyramid import Level, plan_levels

Shape = tuple[int, int]
"""Rows and columns."""


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures of one size and one finest level, one after another in the upload."""

    start: int
    """Number of the first one in the upload."""
    count: int
    height: int
    width: int
    side: int | None = None
    """Longest side of the finest level, see `min_face.Look`."""
    levels: tuple[Level, ...] = ()


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile of one pyramid level, for every picture of a group."""

    group: int
    level: int
    """Number of it in the group."""
    top: int
    bottom: int
    left: int
    right: int

    @property
    def shape(self) -> Shape:
        """Padded to whole steps."""
        height, width = self.bottom - self.top, self.right - self.left
        return height + -height % STEP, width + -width % STEP


@dataclass(frozen=True, slots=True)
class Pass:
    """All tiles of one shape. n: their number over all pictures."""

    shape: Shape
    tiles: tuple[Tile, ...]
    picture: NDArray[np.int64]
    """(n,) in the upload."""
    slot: NDArray[np.int64]
    """(n,) number of the tile in its picture."""
    geometry: NDArray[np.float32]
    """(n, 8) origin x, y; scale x, y; cut edges x0, y0, x1, y1, as in `image_pyramid.Tile`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a batch."""

    order: tuple[int, ...]
    """The upload's pictures by their number in the batch."""
    sizes: NDArray[np.int64]
    """(P, 2) height and width, in the upload's order."""
    groups: tuple[Group, ...]
    passes: tuple[Pass, ...]
    pieces: int
    """Most tiles of a picture."""


def plan_batch(shapes: Sequence[Shape], largest: int, finest: Sequence[int | None] = ()) -> Plan:
    """Heights and widths of the batch's pictures -> plan. largest, finest: see `tiling.sides`; `finest` has one a picture, or none."""
    given = list(finest) or [None] * len(shapes)
    order = tuple(sorted(range(len(shapes)), key=lambda number: (shapes[number], given[number] or 0, number)))
    sizes = np.array([shapes[number] for number in order], np.int64).reshape(-1, 2)
    groups: list[Group] = []
    for start, number in enumerate(order):
        kind = (*shapes[number], given[number])
        if groups and (groups[-1].height, groups[-1].width, groups[-1].side) == kind:
            groups[-1] = replace(groups[-1], count=groups[-1].count + 1)
        else:
            groups.append(Group(start, 1, *kind, tuple(_levels(*kind, largest))))
    waiting: dict[Shape, list[tuple[Tile, int]]] = {}
    most = 0
    for number, group in enumerate(groups):
        tiles = [tile for level, each in enumerate(group.levels) for tile in _tiles(number, level, each)]
        most = max(most, len(tiles))
        for slot, tile in enumerate(tiles):
            waiting.setdefault(tile.shape, []).append((tile, slot))
    return Plan(order, sizes, tuple(groups), tuple(_pass(shape, tiles, groups) for shape, tiles in waiting.items()), most)


def _levels(height: int, width: int, finest: int | None, largest: int) -> list[Level]:
    return plan_levels(height, width, sides(height, width, largest, finest))


def spans(length: int) -> list[tuple[int, int]]:
    """Equal overlapping spans of at most `TILE` that cover a side, as in `tiling.tile_image`."""
    if length <= TILE:
        return [(0, length)]
    count = -(-(length - OVERLAP) // (TILE - OVERLAP))
    return [(int(start), int(start) + TILE) for start in np.linspace(0, length - TILE, count).round()]


def _tiles(group: int, number: int, level: Level) -> list[Tile]:
    return [Tile(group, number, *rows, *columns) for rows in spans(level.height) for columns in spans(level.width)]


def _pass(shape: Shape, tiles: list[tuple[Tile, int]], groups: Sequence[Group]) -> Pass:
    counts = [groups[tile.group].count for tile, _ in tiles]
    picture = np.concatenate([groups[tile.group].start + np.arange(count) for (tile, _), count in zip(tiles, counts, strict=True)])
    slot = np.repeat([slot for _, slot in tiles], counts)
    geometry = np.repeat([_geometry(tile, groups[tile.group]) for tile, _ in tiles], counts, axis=0)
    return Pass(shape, tuple(tile for tile, _ in tiles), picture.astype(np.int64), slot.astype(np.int64), geometry.astype(np.float32))


def _geometry(tile: Tile, group: Group) -> list[float]:
    level, inf = group.levels[tile.level], float("inf")
    cut = [-inf if tile.left == 0 else 0.0, -inf if tile.top == 0 else 0.0]
    cut += [inf if tile.right == level.width else float(tile.right - tile.left)]
    cut += [inf if tile.bottom == level.height else float(tile.bottom - tile.top)]
    return [float(tile.left), float(tile.top), *level.back, *cut]
