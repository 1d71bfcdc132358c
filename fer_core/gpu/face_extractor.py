"""A `FaceExtractor` on one GPU: the built-in detector and the alignment for many pictures at a time, with the results of the reference
path.

A batch is uploaded in one pinned copy, passes pyramid, network, suppression, refinement and alignment without a synchronisation with the
host, and is downloaded in one pinned copy, which is the one synchronisation. The next batch is queued before the last one is waited for.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fer_core.align.face_extractor import ExtractedFaces, large_enough
from fer_core.decode.min_face import Look
from fer_core.detect.builtin.detector import CANDIDATES, LENIENCE, NMS_THRESHOLD, SMALL, WEAK
from fer_core.detect.builtin.identity import LARGEST_SIDE, SCORE_THRESHOLD
from fer_core.detect.builtin.network import DetectionNet
from fer_core.detect.builtin.weights import SHIPPED, load_detector
from fer_core.gpu.alignment import align_faces
from fer_core.gpu.capacity import Capacity
from fer_core.gpu.graphs import Graphs, recorder_for
from fer_core.gpu.integral import Pictures
from fer_core.gpu.pinned_transfer import Download, Downloads, Uploads
from fer_core.gpu.places import Findings, averaged, gather_candidates, nms, ordered, pack_faces
from fer_core.gpu.plan import Plan, plan_batch
from fer_core.gpu.pyramid import TileBatch, batch_tiles
from fer_core.gpu.refinement import BATCH, refine_detections
from fer_core.timing import Stopwatch
from fer_core.types import Faces

BATCH_PICTURES: Final = 64
BATCH_PIXELS: Final = 2**25
"""Of a batch of pictures, unless one alone has more. A pixel takes about 70 bytes of device memory, most of them its sums."""
PIECE_PIXELS: Final = 2**22
"""Pixels of one batch of tiles. The number of tiles depends on their shape alone, and batches are padded: the last bits of a result
depend on the size of the batch, and must not depend on the other pictures."""
LEAST_CANDIDATES: Final = 512
MOST_FACES: Final = 4096
"""Of a batch. A batch with more is split into halves; a picture alone has no more than `CANDIDATES`."""
ROUNDS: Final = 16
"""Of the suppression, before it is repeated with as many as there are candidates."""


@dataclass(frozen=True, slots=True)
class _Room:
    """Capacities of one pass over the detections."""

    candidates: int
    faces: int
    rounds: int


@dataclass(frozen=True, slots=True)
class _Running:
    """A batch on the device."""

    batch: Sequence[NDArray[np.uint8]]
    plan: Plan
    pictures: Pictures
    looks: Sequence[Look]
    findings: list[Findings]
    room: _Room
    result: Download


class GpuFaceExtractor:
    """A `FaceExtractor` with the detector of `detect.builtin.detector.BuiltinDetector`, whose identity it shares. One instance a thread.

    weights: a detector's file, or its network. dtype: of the network's features; half precision (`torch.float16`) is meant for the GPU,
    `torch.bfloat16` has an eighth of its precision, `torch.float32` is the reference's. piece_pixels, second_looks: pixels of tiles, and
    number of cut-outs, of one batch; few are best on a CPU.
    """

    pictures: int = 2 * BATCH_PICTURES
    side: int | None

    def __init__(
        self,
        weights: Path | DetectionNet = SHIPPED,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float16,
        *,
        score_threshold: float = SCORE_THRESHOLD,
        largest_side: int = LARGEST_SIDE,
        piece_pixels: int = PIECE_PIXELS,
        second_looks: int = BATCH,
    ) -> None:
        self._device, self._dtype = device or torch.device("cuda"), dtype
        network = copy.deepcopy(weights) if isinstance(weights, DetectionNet) else load_detector(weights)
        self._network = network.eval().to(self._device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]  # as in detect.builtin
        self._graphs = Graphs(self._seen, recorder_for(self._device))
        self._threshold, self._largest, self.side = score_threshold, largest_side, largest_side
        self._lowest = max(0.0, score_threshold - LENIENCE)
        self._piece_pixels, self._second_looks = piece_pixels, second_looks
        self._uploads, self._downloads = Uploads(self._device), Downloads(self._device)
        self._candidates, self._faces = Capacity(LEAST_CANDIDATES, CANDIDATES), Capacity(second_looks, MOST_FACES)
        self.repeated = 0
        """Batches whose detections exceeded a capacity."""

    def extract(self, pictures: Sequence[NDArray[np.uint8]], looks: Sequence[Look], watch: Stopwatch) -> list[ExtractedFaces]:
        """See `FaceExtractor`. Detection and alignment are one pass over the device; both count as `detect`."""
        out: list[ExtractedFaces] = []
        with watch.stage("detect"), torch.inference_mode():
            running: _Running | None = None
            start = 0
            for batch in _batches(pictures):
                started = self._start(batch, looks[start : start + len(batch)])
                start += len(batch)
                if running is not None:
                    out += self._finish(running)
                running = started
            if running is not None:
                out += self._finish(running)
        return out

    def _start(self, batch: Sequence[NDArray[np.uint8]], looks: Sequence[Look]) -> _Running:
        """Queue a batch; does not wait."""
        shapes = [(picture.shape[0], picture.shape[1]) for picture in batch]
        plan = plan_batch(shapes, self._largest, [look.side for look in looks])
        tables = [table for each in plan.passes for table in (each.picture, each.slot, each.geometry)]
        flat, (sizes, *sent) = self._uploads.send([batch[number] for number in plan.order], [plan.sizes, *tables])
        findings = [
            Findings(self._through(pieces), *sent[3 * number : 3 * number + 3])
            for number, pieces in enumerate(batch_tiles(plan, flat, self._dtype))
        ]
        pictures = Pictures.of(flat, plan.groups, sizes)
        room = _Room(self._candidates.size, self._faces.size, ROUNDS)
        result = self._settled(pictures, findings, plan.pieces, room)
        return _Running(batch, plan, pictures, looks, findings, room, result)

    def _through(self, pieces: TileBatch) -> Tensor:
        """All tiles of one shape -> network outputs, (n, N, 15), in batches of a size that depends on the shape alone."""
        size = tiles_per_batch(pieces.pixels.shape[2] * pieces.pixels.shape[3], self._piece_pixels)
        seen = []
        for part in torch.split(pieces.pixels, size):
            full = part
            if len(part) < size:
                full = torch.zeros((size, *part.shape[1:]), dtype=part.dtype, device=part.device).to(memory_format=torch.channels_last)
                full[: len(part)] = part
            seen.append(self._graphs(full)[: len(part)])
        return torch.cat(seen)

    def _seen(self, pieces: Tensor) -> Tensor:
        """(B, 3, H, W) of 0 to 255 -> (B, N, 15) box, points and score at every place, in pixels, float32."""
        places = self._network(pieces)
        return torch.cat([places.boxes, places.points.flatten(2), places.logits.sigmoid().unsqueeze(2)], 2)

    def _settled(self, pictures: Pictures, findings: list[Findings], pieces: int, room: _Room) -> Download:
        """From network outputs to faces and crops, as in `BuiltinDetector`."""
        count = len(pictures.sizes)
        found = gather_candidates(findings, count, pieces, min(WEAK, self._lowest**2), room.candidates)
        owner = torch.arange(count, device=self._device)[:, None].expand(found.valid.shape)
        keep, first_done = nms(found.rows[..., :4], found.valid, owner, NMS_THRESHOLD, room.rounds)
        promising = keep & (found.rows[..., 14] >= self._lowest**2)  # what refinement can raise to the threshold
        index, total = pack_faces(promising, room.faces)
        rows, picture = averaged(found, index)
        rows = refine_detections(self._graphs, pictures, rows, picture, self._lowest, self._dtype, batch=self._second_looks)
        order = ordered(rows)
        rows, picture = rows[order], picture[order]
        good = (picture < count) & self._sure(rows) & rows.isfinite().all(1)
        kept, second_done = nms(rows[None, :, :4], good[None], picture[None], NMS_THRESHOLD, room.rounds)
        sizes = pictures.sizes[picture.clamp(max=count - 1)].flip(1).repeat(1, 2)
        boxes = torch.minimum(rows[:, :4].clamp(min=0), sizes)
        kept = kept[0] & ((boxes[:, 2:] - boxes[:, :2]).amin(1) >= 1.0)
        crops = align_faces(pictures, rows[:, 4:14].reshape(-1, 5, 2), picture)
        counts = torch.stack([found.counts.max(), total, (first_done & second_done).long()])
        return self._downloads.fetch([counts, boxes, rows, torch.where(kept, picture, count), crops])

    def _sure(self, rows: Tensor) -> Tensor:
        """(T,) bool: whether a score suffices for a face of this size."""
        small = (rows[:, 2:4] - rows[:, :2]).prod(1).clamp(min=0).sqrt() < SMALL
        return rows[:, 14] >= torch.where(small, self._lowest, self._threshold)

    def _finish(self, running: _Running) -> list[ExtractedFaces]:
        """Wait for a batch; repeat the pass over its detections if they exceeded a capacity."""
        counts, boxes, rows, picture, crops = running.result.wait()
        candidates, faces, settled = (int(number) for number in counts)
        room = running.room
        # beyond the bound the best are taken, as the reference does
        fits = candidates <= room.candidates or room.candidates == self._candidates.most
        if fits and faces <= room.faces and settled:
            self._candidates.observe(candidates)
            self._faces.observe(faces)
            return _extracted(running, boxes, rows, picture, crops)
        self.repeated += 1
        if fits and faces > self._faces.most:
            half = len(running.batch) // 2
            halves = (slice(None, half), slice(half, None))
            return [one for each in halves for one in self._finish(self._start(running.batch[each], running.looks[each]))]
        more = _Room(
            self._candidates.at_least(max(candidates, room.candidates)),
            self._faces.at_least(max(faces, room.faces)),
            room.rounds if settled else CANDIDATES,
        )
        result = self._settled(running.pictures, running.findings, running.plan.pieces, more)
        return self._finish(replace(running, room=more, result=result))


def tiles_per_batch(area: int, most: int) -> int:
    """Number of tiles of `area` pixels in a batch: a power of two, of at most `most` pixels, or one."""
    return 1 << max(0, (most // area).bit_length() - 1)


def _batches(pictures: Sequence[NDArray[np.uint8]]) -> list[Sequence[NDArray[np.uint8]]]:
    """Runs of at most `BATCH_PICTURES` and `BATCH_PIXELS`."""
    batches: list[Sequence[NDArray[np.uint8]]] = []
    start, area = 0, 0
    for number, picture in enumerate(pictures):
        size = picture.shape[0] * picture.shape[1]
        if number > start and (number - start == BATCH_PICTURES or area + size > BATCH_PIXELS):
            batches.append(pictures[start:number])
            start, area = number, 0
        area += size
    return [*batches, pictures[start:]] if len(pictures) else []


def _extracted(
    running: _Running, boxes: NDArray[Any], rows: NDArray[Any], picture: NDArray[Any], crops: NDArray[Any]
) -> list[ExtractedFaces]:
    """The downloaded arrays -> the faces of each picture that are large enough, in the batch's order; faces by falling score, ties by x0,
    then y0."""
    numbers = running.plan.order
    order = np.lexsort((boxes[:, 1], boxes[:, 0], -rows[:, 14], picture))
    ends = np.searchsorted(picture[order], np.arange(len(numbers) + 1))
    out: list[ExtractedFaces | None] = [None] * len(numbers)
    for place, number in enumerate(numbers):
        own = order[ends[place] : ends[place + 1]]
        faces = Faces(boxes[own], rows[own, 4:14].reshape(-1, 5, 2), np.clip(rows[own, 14], 0, 1))
        large = large_enough(faces, running.looks[number].least)
        out[number] = ExtractedFaces(faces.take(large), crops[own[large]])
    return [one for one in out if one is not None]
