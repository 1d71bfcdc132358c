"""CUDA graphs: a function of one tensor recorded once for each shape and replayed, so that hundreds of launches cost one."""

from collections.abc import Callable
from typing import Final, Protocol

import torch
from torch import Tensor

MOST: Final = 48
"""Most recorded shapes; each keeps the memory of its inputs and results. Further shapes run without a graph."""
WARM_UP: Final = 2
"""Runs before recording: libraries choose and allocate in the first."""

Function = Callable[[Tensor], Tensor]


class Recorder(Protocol):
    """Records a function for one shape."""

    def __call__(self, function: Function, example: Tensor, /) -> Function:
        """The same function for tensors of the example's shape; its result is overwritten by its next call."""
        ...


class Graphs:
    """A function, replayed for shapes that were seen before. For one thread, on the current stream.

    record: None runs it as it is, always (as on the CPU). Results are the caller's own.
    """

    def __init__(self, function: Function, record: Recorder | None, most: int = MOST) -> None:
        self._function, self._record, self._most = function, record, most
        self._recorded: dict[tuple[torch.Size, torch.dtype], Function] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """(any shape) -> the function of it."""
        key = (x.shape, x.dtype)
        known = self._recorded.get(key)
        if known is None:
            if self._record is None or len(self._recorded) >= self._most:
                return self._function(x)
            known = self._recorded[key] = self._record(self._function, x)
        return known(x).clone()

    @property
    def recorded(self) -> int:
        """Number of recorded shapes."""
        return len(self._recorded)


class CudaRecorder:
    """A `Recorder` on a CUDA device; all its graphs share one pool of memory, because they are replayed one after another."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, function: Function, example: Tensor) -> Function:
        """See `Recorder`."""
        held = torch.empty_like(example).copy_(example)
        aside = torch.cuda.Stream(device=example.device)  # type: ignore[no-untyped-call]  # torch's stubs
        aside.wait_stream(torch.cuda.current_stream(example.device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                function(held)
        torch.cuda.current_stream(example.device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # other threads may reserve memory meanwhile
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            result = function(held)

        def replay(x: Tensor) -> Tensor:
            held.copy_(x)
            graph.replay()
            return result

        return replay


def recorder_for(device: torch.device) -> Recorder | None:
    """Graphs where there is CUDA."""
    return CudaRecorder() if device.type == "cuda" else None
