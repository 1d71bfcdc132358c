"""Scenes in batches, made in processes of their own while the network learns."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from benchmarks.detector.training.assignment import Truth
from benchmarks.detector.training.scenes import Scene, SceneMaker
from fer_core.detect.builtin.network import DetectionNet, DetectionOutputs

MOST_FACES: Final = 48
"""Of a scene with more the largest are asked for; the rest is neither rewarded nor punished."""


@dataclass(frozen=True, slots=True)
class Batch:
    """B scenes."""

    pictures: Tensor
    """(B, 3, H, W) uint8 RGB."""
    truth: Truth
    taught: DetectionOutputs | None
    """What a trained network gives for the pictures, if it is asked."""


def batched(scenes: list[Scene]) -> tuple[Tensor, Tensor]:
    """Scenes of one size -> pictures (B, 3, H, W) uint8 and faces (B, M, 15): box, points, and 1 known, 2 unsure or 0 padding."""
    pictures = torch.from_numpy(np.stack([scene.pixels for scene in scenes])).permute(0, 3, 1, 2).contiguous()
    most = max(1, *(len(scene.marks.scores) for scene in scenes))
    faces = np.zeros((len(scenes), most, 15), np.float32)
    for row, scene in zip(faces, scenes, strict=True):
        area = np.prod(scene.marks.boxes[:, 2:] - scene.marks.boxes[:, :2], axis=1)
        for rank, (place, index) in enumerate(zip(row, np.argsort(-area, kind="stable"), strict=False)):
            place[:4], place[4:14] = scene.marks.boxes[index], scene.marks.points[index].reshape(-1)
            place[14] = 2 if scene.unsure[index] or rank >= MOST_FACES else 1
    return pictures, torch.from_numpy(faces)


def truth(faces: Tensor) -> Truth:
    """(B, M, 15) as `batched` gives them."""
    return Truth(faces[..., :4], faces[..., 4:14].reshape(*faces.shape[:2], 5, 2), faces[..., 14] == 1, faces[..., 14] == 2)


@dataclass(frozen=True, slots=True)
class TrainedTeacher:
    """A trained network that a smaller one learns from. It runs where the scenes are made, beside the training."""

    network: DetectionNet
    bfloat16: bool

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> DetectionOutputs:
        """(B, 3, H, W) uint8 RGB -> its outputs."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            outputs: DetectionOutputs = self.network(pictures.to(torch.float32, memory_format=torch.channels_last))
        return outputs


class _Stream(IterableDataset[tuple[Tensor, Tensor, DetectionOutputs | None]]):
    """Batches `start`, `start` + 1, ... dealt in turn to the loader's processes."""

    def __init__(self, maker: SceneMaker, size: int, numbers: range, teacher: TrainedTeacher | None) -> None:
        super().__init__()
        self._maker, self._size, self._numbers, self._teacher = maker, size, numbers, teacher

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, DetectionOutputs | None]]:
        cv2.setNumThreads(1)
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for number in self._numbers[first::step]:
            pictures, faces = batched([self._maker.scene(number * self._size + index) for index in range(self._size)])
            yield pictures, faces, None if self._teacher is None else self._teacher(pictures)


def batches(maker: SceneMaker, size: int, numbers: range, processes: int, teacher: TrainedTeacher | None = None) -> Iterator[Batch]:
    """Batches with these numbers, the same whatever the number of processes (0: made here)."""
    stream = _Stream(maker, size, numbers, teacher)
    loader: DataLoader[tuple[Tensor, Tensor, DetectionOutputs | None]] = DataLoader(
        stream, batch_size=None, num_workers=processes, prefetch_factor=6 if processes else None
    )
    for pictures, faces, taught in loader:
        yield Batch(pictures, truth(faces), taught)
