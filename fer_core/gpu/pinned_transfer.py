"""Copies between host and device through pinned memory, two buffers in turn: one is filled while the other is copied."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ALIGNED: Final = 256
"""Bytes: every array begins at a multiple of it, so that it can be read as any type."""
SMALLEST: Final = 2**20
BUFFERS: Final = 2


@dataclass(slots=True)
class _Buffer:
    """Pinned where there is CUDA; grows by doubling and never shrinks."""

    pinned: bool
    memory: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.uint8))
    busy: "torch.cuda.Event | None" = None
    """Reached when the copy out of it, or into it, is done."""

    def at_least(self, size: int) -> Tensor:
        """(size,) bytes that nothing else uses any more."""
        if self.busy is not None:
            self.busy.synchronize()
            self.busy = None
        if len(self.memory) < size:
            self.memory = torch.empty(max(SMALLEST, 1 << (size - 1).bit_length()), dtype=torch.uint8, pin_memory=self.pinned)
        return self.memory[:size]


class Uploads:
    """Host arrays -> device. The copy runs on a stream of its own, beside what the device computes for the batch before."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cuda = device.type == "cuda"
        self._stream = torch.cuda.Stream(device=device) if self._cuda else None  # type: ignore[no-untyped-call]  # torch's stubs
        self._buffers = [_Buffer(self._cuda) for _ in range(BUFFERS)]
        self._turn = 0

    def send(self, pictures: Sequence[NDArray[np.uint8]], tables: Sequence[NDArray[Any]]) -> tuple[Tensor, list[Tensor]]:
        """Pictures (H, W, 3) one after another -> (sum of H * W, 3); tables of any shapes and types -> the same. All in one copy.

        Work queued afterwards on the current stream waits for it.
        """
        area = sum(picture.size for picture in pictures)
        starts, size = _places_of(tables, area + -area % ALIGNED)
        buffer = self._buffers[self._turn]
        self._turn = (self._turn + 1) % BUFFERS
        staged = buffer.at_least(size)
        view, behind = staged.numpy(), 0
        for picture in pictures:
            view[behind : behind + picture.size].reshape(picture.shape)[...] = picture
            behind += picture.size
        for start, table in zip(starts, tables, strict=True):
            view[start : start + table.nbytes].view(table.dtype).reshape(table.shape)[...] = table
        there = self._sent(buffer, staged)
        return there[:area].view(-1, 3), [_read(there, start, table) for start, table in zip(starts, tables, strict=True)]

    def _sent(self, buffer: _Buffer, staged: Tensor) -> Tensor:
        if self._stream is None:
            return staged.clone()
        present = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            there = staged.to(self._device, non_blocking=True)
            buffer.busy = _event()
            buffer.busy.record(self._stream)
        present.wait_event(buffer.busy)
        there.record_stream(present)  # its memory is not given away while the present stream may still read it
        return there


@dataclass(frozen=True, slots=True)
class Download:
    """A pending copy of device tensors to the host."""

    buffer: _Buffer
    layout: tuple[tuple[int, torch.dtype, torch.Size], ...]
    free: list[_Buffer]
    """List to which the buffer returns once it was read."""

    def wait(self) -> list[NDArray[Any]]:
        """The one synchronisation of a batch. The arrays are the caller's own. To be called once."""
        host = self.buffer.at_least(0 if not self.layout else self.layout[-1][0] + _size(*self.layout[-1][1:]))
        arrays = [_part(host, start, dtype, shape).numpy().copy() for start, dtype, shape in self.layout]
        self.free.append(self.buffer)
        return arrays


class Downloads:
    """Device -> host. As many buffers as concurrent downloads."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._free: list[_Buffer] = []

    def fetch(self, tensors: Sequence[Tensor]) -> Download:
        """Tensors of any shapes and types, in one copy queued on the current stream."""
        layout, size = [], 0
        flat = []
        for tensor in tensors:
            data = tensor.contiguous().flatten().view(torch.uint8)
            layout.append((size, tensor.dtype, tensor.shape))
            flat += [data, data.new_zeros(-len(data) % ALIGNED)]
            size += len(data) + -len(data) % ALIGNED
        buffer = self._free.pop() if self._free else _Buffer(self._cuda)
        buffer.at_least(size).copy_(torch.cat(flat), non_blocking=True)
        if self._cuda:
            buffer.busy = _event()
            buffer.busy.record()
        return Download(buffer, tuple(layout), self._free)


def _event() -> "torch.cuda.Event":
    return torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch's stubs


def _places_of(tables: Sequence[NDArray[Any]], start: int) -> tuple[list[int], int]:
    """Where each table begins, and the size of all."""
    ends = np.cumsum([start] + [table.nbytes + -table.nbytes % ALIGNED for table in tables])
    return [int(end) for end in ends[:-1]], int(ends[-1])


def _read(there: Tensor, start: int, table: NDArray[Any]) -> Tensor:
    return _part(there, start, torch.from_numpy(np.empty(0, table.dtype)).dtype, torch.Size(table.shape))


def _part(data: Tensor, start: int, dtype: torch.dtype, shape: torch.Size) -> Tensor:
    return data[start : start + _size(dtype, shape)].view(dtype).view(shape)


def _size(dtype: torch.dtype, shape: torch.Size) -> int:
    """Bytes."""
    return shape.numel() * dtype.itemsize
