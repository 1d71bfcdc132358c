"""Any way up: pictures that lie on their side or head. A `FaceExtractor` over another one, of any detector, on CPU and GPU.

A picture in which upright detection finds nothing that it trusts (`UprightRule`) is shrunk, and its three other quarter turns are searched
beside each other in one small sheet, and below them those of what it found. The turn with the strongest face is then searched in full; its
faces count if the strongest of them is stronger than any before. If they are not trusted either, the picture is turned once more. Crops are
cut from the turned picture, so they are those of the upright one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.align.face_extractor import ExtractedFaces, FaceExtractor
from fer_core.decode.min_face import Look
from fer_core.detect.quarter_turn import turned_faces, turned_picture
from fer_core.detect.upright_rule import UprightRule
from fer_core.timing import Stopwatch
from fer_core.types import Faces

OTHERS: Final = (1, 2, 3)
"""Quarter turns that the sheet shows, from left to right."""
CELL: Final = (128, 224)
"""Least and most pixels of a side of its cells."""
SHARE: Final = 4
"""Between them, the finest pyramid level of the picture is so many times as long: a row has about a fifth of its pixels."""
STEP: Final = 32
"""Sides of cells are multiples of it, so that there are few shapes."""
ROUNDS: Final = 2
"""Searches of a picture after the upright one, at most."""
AROUND: Final = 2.5
"""Side of a face's surroundings, in sides of its box."""
GREY: Final = 128


@dataclass(frozen=True, slots=True)
class _Doubtful:
    """A picture without a trusted face."""

    number: int
    pixels: NDArray[np.uint8]
    """Turned already by the turns of `found`."""
    look: Look
    found: ExtractedFaces
    """In these pixels, by falling score."""

    @property
    def cell(self) -> int:
        """Side of its cells."""
        longest = max(self.pixels.shape[:2])
        side = math.ceil((longest if self.look.side is None else self.look.side) / SHARE / STEP) * STEP
        return min(max(side, CELL[0]), CELL[1])

    def sheet(self) -> NDArray[np.uint8]:
        """(rows * cell, 3 * cell, 3) RGB, grey where a turned picture ends."""
        from fer_core.detect.image_pyramid import pyramid_levels

        cell, shown = self.cell, [self.pixels, *self._surroundings()]
        sheet = np.full((len(shown) * cell, len(OTHERS) * cell, 3), GREY, np.uint8)
        for row, pixels in enumerate(shown):
            small, _ = next(pyramid_levels(pixels, [cell]))
            for column, turns in enumerate(OTHERS):
                turned = np.rot90(small, turns)
                sheet[row * cell :, column * cell :][: turned.shape[0], : turned.shape[1]] = turned
        return sheet

    def _surroundings(self) -> list[NDArray[np.uint8]]:
        """Those of the best face, where there is one: small faces are too small in the whole picture's row."""
        if not len(self.found.faces):
            return []
        (x0, y0, x1, y1), (height, width) = self.found.faces.boxes[0].tolist(), self.pixels.shape[:2]
        reach = max(x1 - x0, y1 - y0) * AROUND / 2
        left, top = (max(0, math.floor(middle - reach)) for middle in ((x0 + x1) / 2, (y0 + y1) / 2))
        right, bottom = min(width, left + math.ceil(2 * reach)), min(height, top + math.ceil(2 * reach))
        return [self.pixels[top:bottom, left:right]]

    def sheet_look(self) -> Look:
        """How the detector processes the sheet: at its own size."""
        cell = self.cell
        return Look(self.look.least * cell / max(self.pixels.shape[:2]), len(OTHERS) * cell)

    def best_turn(self, faces: Faces, rule: UprightRule) -> int:
        """The turn of the strongest face in the sheet; 0 where none is stronger than what was found already."""
        if rule.strongest(faces) <= rule.strongest(self.found.faces):
            return 0
        best = int(rule.strengths(faces).argmax())
        middle = (faces.boxes[best, 0] + faces.boxes[best, 2]) / 2
        return OTHERS[min(int(middle // self.cell), len(OTHERS) - 1)]

    def in_the_picture(self) -> ExtractedFaces:
        """What was found, in the pixels of the picture as it came."""
        faces = turned_faces(self.found.faces, -self.found.turns, self.pixels.shape[:2])
        return ExtractedFaces(faces, self.found.crops, self.found.turns)


class TurningExtractor:
    """A `FaceExtractor` that also finds faces in pictures that are not upright. rule: of the detector in `upright`."""

    def __init__(self, upright: FaceExtractor, rule: UprightRule) -> None:
        self._upright, self._rule = upright, rule
        self.pictures, self.side = upright.pictures, upright.side

    def extract(self, pictures: Sequence[NDArray[np.uint8]], looks: Sequence[Look], watch: Stopwatch) -> list[ExtractedFaces]:
        """See `FaceExtractor`."""
        found = self._upright.extract(pictures, looks, watch)
        every = [_Doubtful(number, *one) for number, one in enumerate(zip(pictures, looks, found, strict=True))]
        for _ in range(ROUNDS):
            every = self._turned([one for one in every if not self._rule.trusts(one.found.faces)], watch)
            for one in every:
                found[one.number] = one.in_the_picture()
        return found

    def _turned(self, doubtful: Sequence[_Doubtful], watch: Stopwatch) -> list[_Doubtful]:
        """The pictures that have a stronger face after further turns, turned so."""
        sheets = self._extract([one.sheet() for one in doubtful], [one.sheet_look() for one in doubtful], watch)
        chosen = [(one, one.best_turn(sheet.faces, self._rule)) for one, sheet in zip(doubtful, sheets, strict=True)]
        turning = [(one, turns, turned_picture(one.pixels, turns)) for one, turns in chosen if turns]
        again = self._extract([pixels for _, _, pixels in turning], [one.look for one, _, _ in turning], watch)
        return [
            replace(one, pixels=pixels, found=replace(found, turns=(one.found.turns + turns) % 4))
            for (one, turns, pixels), found in zip(turning, again, strict=True)
            if self._rule.strongest(found.faces) > self._rule.strongest(one.found.faces)
            and found.faces.scores.max() >= self._rule.turned_score
        ]

    def _extract(self, pictures: Sequence[NDArray[np.uint8]], looks: Sequence[Look], watch: Stopwatch) -> list[ExtractedFaces]:
        return self._upright.extract(pictures, looks, watch) if pictures else []
