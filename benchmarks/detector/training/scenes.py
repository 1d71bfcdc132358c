"""Scenes that a detector learns from, composed of labelled pictures: every size of face, crowds, truncated faces, and none at all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.detector.training.material import SCENE, SMALL, TrainingImage
from benchmarks.detector.training.placing import Floats, Marks, Pixels, Source, similarity
from benchmarks.detector.training.spoiling import corrupt, occlude
from benchmarks.detector.training.textures import texture
from fer_core.align.quality import head_pose
from fer_core.errors import TrainingError
from fer_core.types import Faces

KNOWN: Final = 0.5
"""From this score of the teacher a face has to be found."""
DOUBTFUL: Final = 0.3
"""Below it nothing is there; between the two nothing is asked. In pictures of one person all that is not known is nothing: what the
teacher doubts there are ears, hands and blossoms, as a look at them shows, but in crowds small faces."""
LARGE: Final = 48.0
SURE: Final = 0.7
"""A face of at least `LARGE` pixels in its picture that the teacher gives less than this may be a hand or a sleeve."""
SMALLEST: Final = 9.0
"""Side, in pixels of the scene, from which a face has to be found; smaller ones are not asked for."""
SEEN: Final = 0.4
"""Share of a face's box inside the scene from which it has to be found."""
KINDS: Final = ("photograph", "portrait", "one", "mosaic", "heads", "nothing")
SHARES: Final = (0.2, 0.23, 0.1, 0.2, 0.17, 0.1)
TURNED: Final = 7.0
"""How much likelier a face in full profile is drawn than a frontal one, less 1: there are few."""
PARTLY: Final = 0.45
"""Share of a face behind another head up to which it has to be found."""
MOSAICS: Final = (2, 3, 4, 5, 6)


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture to learn from."""

    pixels: Pixels
    """(side, side, 3) RGB."""
    marks: Marks
    """Clipped to the scene; points may lie outside."""
    unsure: NDArray[np.bool_]
    """(N,) faces that are neither rewarded nor punished."""


class SceneMaker:
    """Composes scenes. The same seed and number always give the same scene. TrainingError: too few kinds of pictures to compose any."""

    def __init__(self, pictures: Sequence[TrainingImage], side: int, seed: int) -> None:
        self._side, self._seed = side, seed
        sources = [Source(_decided(picture)) for picture in pictures]
        self._photographs = [source for source in sources if source.kind == SCENE]
        self._people = [source for source in sources if source.kind != SCENE and (source.marks.scores >= KNOWN).any()]
        self._roomy = [source for source in self._people if source.kind != SMALL]
        if not self._photographs or not self._roomy:
            raise TrainingError("scenes need photographs of scenes and pictures of one person with a known face, not only small ones")
        self._people_shares, self._roomy_shares = _shares(self._people), _shares(self._roomy)

    def scene(self, number: int) -> Scene:
        """Scene `number`."""
        draws = np.random.default_rng([self._seed, number])
        kind = KINDS[int(draws.choice(len(KINDS), p=SHARES))]
        if kind == "photograph":
            pixels, marks = self._window(self._photographs[int(draws.integers(len(self._photographs)))], draws)
        elif kind == "portrait":
            pixels, marks = self._window(self._roomy[int(draws.choice(len(self._roomy), p=self._roomy_shares))], draws)
        elif kind == "one":
            pixels, marks = self._one(draws)
        elif kind == "mosaic":
            pixels, marks = self._mosaic(draws)
        elif kind == "heads":
            pixels, marks = self._heads(draws)
        else:
            pixels, marks = self._background(draws, faces=False)
        pixels = np.ascontiguousarray(pixels)
        return self._finished(corrupt(occlude(pixels, marks.take(marks.scores >= KNOWN), draws), draws), marks)

    def _finished(self, pixels: Pixels, marks: Marks) -> Scene:
        """Clip the boxes, drop what lies outside or is nothing, and say what is asked for."""
        clipped = np.clip(marks.boxes, 0, self._side)
        whole = np.prod(marks.boxes[:, 2:] - marks.boxes[:, :2], axis=1)
        seen = np.prod(clipped[:, 2:] - clipped[:, :2], axis=1) / np.maximum(whole, 1e-9)
        unsure = (marks.scores < KNOWN) | (seen < SEEN) | (np.sqrt(whole) < SMALLEST)
        kept = (marks.scores >= DOUBTFUL) & (seen > 0.05)
        return Scene(pixels, Marks(clipped[kept], marks.points[kept], marks.scores[kept]), unsure[kept])

    def _window(self, source: Source, draws: np.random.Generator) -> tuple[Pixels, Marks]:
        """A window of a picture, as large as the picture or smaller: often around a face, else anywhere, mostly without one."""
        whole = self._side / source.size.max()
        scale = float(np.exp(draws.uniform(np.log(whole), np.log(max(2.0, 3 * whole)))))
        centre = draws.uniform(0.1, 0.9, 2) * source.size
        faces = source.marks.boxes[source.marks.scores >= KNOWN]
        if len(faces) and draws.random() < 0.6:
            box = faces[int(draws.integers(len(faces)))]
            centre = (box[:2] + box[2:]) / 2 + draws.uniform(-0.4, 0.4, 2) * self._side / scale
        # The window stays in the photograph where it can: a reflected crowd would be as good, but there is no need.
        half = self._side / scale / 2
        centre = np.where(source.size > 2 * half, np.clip(centre, half, np.maximum(source.size - half, half)), source.size / 2)
        matrix = similarity(centre, np.full(2, self._side / 2), scale, _turn(draws), mirror=bool(draws.random() < 0.5))
        return self._drawn(source, matrix)

    def _drawn(self, source: Source, matrix: Floats) -> tuple[Pixels, Marks]:
        """A whole scene of one picture; outside of it there is black, so that no face is seen twice."""
        pixels = source.warped(matrix, (self._side, self._side), cv2.BORDER_CONSTANT)
        return pixels, source.marks.moved(matrix)

    def _one(self, draws: np.random.Generator) -> tuple[Pixels, Marks]:
        """One picture of a person, its face of any size, laid over a background; parts of the face may lie outside."""
        source = self._roomy[int(draws.choice(len(self._roomy), p=self._roomy_shares))]
        box = _face(source, draws)
        target = float(np.exp(draws.uniform(np.log(14), np.log(0.97 * self._side))))
        scale = target / np.sqrt(np.prod(box[2:] - box[:2]))
        place = draws.uniform(0.0, 1.0, 2) if draws.random() < 0.3 else draws.uniform(0.25, 0.75, 2)
        matrix = similarity((box[:2] + box[2:]) / 2, place * self._side, scale, _turn(draws), mirror=bool(draws.random() < 0.5))
        canvas, marks = self._background(draws, faces=False)
        return _laid(canvas, marks, source, matrix, None)

    def _mosaic(self, draws: np.random.Generator) -> tuple[Pixels, Marks]:
        """Tiles with a person each; one in ten holds background."""
        count = int(MOSAICS[int(draws.choice(len(MOSAICS), p=(0.25, 0.25, 0.2, 0.15, 0.15)))])
        edges = [np.linspace(0, self._side, count + 1) for _ in range(2)]
        for edge in edges:
            edge[1:-1] += draws.uniform(-0.2, 0.2, count - 1) * self._side / count
        columns, rows = (edge.round().astype(int) for edge in edges)
        canvas = np.empty((self._side, self._side, 3), np.uint8)
        parts = []
        for top, bottom in pairwise(rows):
            for left, right in pairwise(columns):
                size = (int(right - left), int(bottom - top))
                pixels, marks = self._tile(size, draws)
                canvas[top:bottom, left:right] = pixels
                parts.append(marks.moved(np.array([[1, 0, left], [0, 1, top]], float)))
        return canvas, Marks.joined(parts)

    def _tile(self, size: tuple[int, int], draws: np.random.Generator) -> tuple[Pixels, Marks]:
        """One tile of a mosaic, (width, height): faces that reach out of it are clipped to it."""
        if draws.random() < 0.1:
            return texture(size, draws), Marks.none()
        source = self._people[int(draws.choice(len(self._people), p=self._people_shares))]
        box = _face(source, draws)
        share = float(draws.uniform(0.35, 0.95)) if source.kind == SMALL else float(draws.uniform(0.22, 0.9))
        scale = share * min(size) / float(np.sqrt(np.prod(box[2:] - box[:2])))
        place = np.array(size) * (0.5 + draws.uniform(-0.5, 0.5, 2) * max(0.0, 1 - share))
        matrix = similarity((box[:2] + box[2:]) / 2, place, scale, _turn(draws), mirror=bool(draws.random() < 0.5))
        border = cv2.BORDER_CONSTANT if draws.random() < 0.5 else cv2.BORDER_REPLICATE
        marks = source.marks.moved(matrix)
        clipped = np.clip(marks.boxes, 0, np.tile(size, 2))
        seen = np.prod(clipped[:, 2:] - clipped[:, :2], axis=1) / np.maximum(np.prod(marks.boxes[:, 2:] - marks.boxes[:, :2], axis=1), 1e-9)
        scores = np.where(seen < SEEN, np.minimum(marks.scores, KNOWN - 0.01), marks.scores)
        return source.warped(matrix, size, border), Marks(clipped, marks.points, scores).take(seen > 0.05)

    def _heads(self, draws: np.random.Generator) -> tuple[Pixels, Marks]:
        """Heads with a soft edge on a background, as in a crowd; later ones hide earlier ones."""
        canvas, marks = self._background(draws, faces=bool(draws.random() < 0.5))
        for _ in range(int(draws.integers(2, 13))):
            source = self._people[int(draws.choice(len(self._people), p=self._people_shares))]
            box = _face(source, draws)
            target = float(np.exp(draws.uniform(np.log(12), np.log(100))))
            scale = target / float(np.sqrt(np.prod(box[2:] - box[:2])))
            place = draws.uniform(0.02, 0.98, 2) * self._side
            matrix = similarity((box[:2] + box[2:]) / 2, place, scale, _turn(draws), mirror=bool(draws.random() < 0.5))
            canvas, marks = _laid(canvas, marks, source, matrix, box)
        return canvas, marks

    def _background(self, draws: np.random.Generator, *, faces: bool) -> tuple[Pixels, Marks]:
        """Texture, or a photograph; without `faces`, those in it are painted over with its other parts or blurred away."""
        if draws.random() < 0.4:
            return texture((self._side, self._side), draws), Marks.none()
        if draws.random() < 0.6:
            pixels, marks = self._window(self._photographs[int(draws.integers(len(self._photographs)))], draws)
        else:
            source = self._roomy[int(draws.integers(len(self._roomy)))]
            scale = float(draws.uniform(0.8, 2.5))
            matrix = similarity(draws.uniform(0, 1, 2) * source.size, np.full(2, self._side / 2), scale, _turn(draws), mirror=False)
            pixels, marks = self._drawn(source, matrix)
        if faces:
            return pixels, marks
        return _faceless(pixels, marks, draws), Marks.none()


def _decided(picture: TrainingImage) -> TrainingImage:
    """What the teacher says, with two corrections that a look at its findings asks for.

    Large faces that it is not sure of are only doubtful, but for the best one of a picture; and in pictures of one person what is less
    than known is nothing.
    """
    faces = picture.faces
    large = np.sqrt(np.prod(faces.boxes[:, 2:] - faces.boxes[:, :2], axis=1)) >= LARGE
    unsure = large & (faces.scores < SURE) & (faces.scores < faces.scores.max(initial=0))
    scores = np.where(unsure, np.minimum(faces.scores, KNOWN - 0.01), faces.scores).astype(np.float32)
    kept = np.flatnonzero((faces.scores >= KNOWN) | (picture.kind == SCENE))
    return replace(picture, faces=Faces(faces.boxes, faces.points, scores).take(kept))


def _shares(sources: Sequence[Source]) -> Floats:
    """(N,) how often each picture is drawn, by how far its most turned face is turned."""
    yaws = [np.abs(head_pose(source.marks.points.astype(np.float32))[:, 0]).max() for source in sources]
    weights = 1 + TURNED * np.clip(np.array(yaws) / 90, 0, 1)
    return np.asarray(weights / weights.sum())


def _turn(draws: np.random.Generator) -> float:
    """Degrees: mostly upright, one in five up to 45, one in fifty anything."""
    kind = draws.random()
    if kind < 0.02:
        return float(draws.uniform(-180, 180))
    return float(draws.uniform(-45, 45) if kind < 0.2 else draws.normal(0, 8))


def _face(source: Source, draws: np.random.Generator) -> Floats:
    """(4,) box of one of the known faces of a picture."""
    known = np.flatnonzero(source.marks.scores >= KNOWN)
    return np.asarray(source.marks.boxes[known[int(draws.integers(len(known)))]])


def _laid(canvas: Pixels, marks: Marks, source: Source, matrix: Floats, head: Floats | None) -> tuple[Pixels, Marks]:
    """A picture over a canvas: all of it, or with `head`, (4,) a face's box, only the head with a soft edge.

    Faces of which three quarters are hidden are gone; of others that are hidden by more than `PARTLY` nothing is asked.
    """
    side = canvas.shape[0]
    shape = np.zeros(source.pixels.shape[:2], np.uint8)
    theirs = source.marks
    if head is None:
        shape[:] = 255
    else:
        middle, half = (head[:2] + head[2:]) / 2, (head[2:] - head[:2]) / 2
        centre = (int(middle[0]), int(middle[1] - 0.15 * half[1]))
        cv2.ellipse(shape, centre, (int(1.45 * half[0]), int(1.45 * half[1])), 0, 0, 360, 255, -1)
        theirs = theirs.take(np.flatnonzero((np.abs(theirs.boxes - head) < 1e-6).all(axis=1)))
    inner = matrix.copy()
    inner[:, 2] += inner[:, :2] @ [0.5, 0.5] - 0.5
    mask = cv2.warpAffine(shape, inner, (side, side), flags=cv2.INTER_LINEAR)
    if head is not None:
        reach = max(3, int(0.04 * np.sqrt(abs(np.linalg.det(matrix[:, :2]))) * float((head[2:] - head[:2]).max())))
        mask = cv2.blur(mask, (reach, reach))
    blend = mask.astype(np.float32)[..., None] / 255
    pixels = source.warped(matrix, (side, side), cv2.BORDER_REPLICATE)
    mixed = np.clip(canvas * (1 - blend) + pixels * blend + 0.5, 0, 255).astype(np.uint8)
    return mixed, Marks.joined([_hidden(marks, mask), theirs.moved(matrix)])


def _hidden(marks: Marks, mask: NDArray[Any]) -> Marks:
    """What is left of faces under a mask, (side, side) 0 to 255."""
    scores = marks.scores.copy()
    side = mask.shape[0]
    for index, box in enumerate(marks.boxes):
        x0, y0, x1, y1 = np.clip(box, 0, side).astype(int)
        part = mask[y0:y1, x0:x1]
        share = float(part.mean()) / 255 if part.size else 0.0
        if share > PARTLY:
            scores[index] = 0.0 if share > 0.75 else min(scores[index], KNOWN - 0.01)
    return Marks(marks.boxes, marks.points, scores).take(scores > 0)


def _faceless(pixels: Pixels, marks: Marks, draws: np.random.Generator) -> Pixels:
    """Every face, sure or not, replaced by texture."""
    side = pixels.shape[0]
    pixels = np.ascontiguousarray(pixels)
    for box in marks.boxes[marks.scores >= DOUBTFUL]:
        grown = box + 0.15 * np.tile(box[2:] - box[:2], 2) * [-1, -1, 1, 1]
        x0, y0, x1, y1 = np.clip(grown, 0, side).round().astype(int)
        if x1 > x0 and y1 > y0:
            pixels[y0:y1, x0:x1] = texture((int(x1 - x0), int(y1 - y0)), draws)
    return pixels
