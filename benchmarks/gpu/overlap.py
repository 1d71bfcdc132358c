"""For benchmarks/gpu/compare.py: how much of the copies between host and device runs beside kernels, and how often the host waits."""

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.profiler import ProfilerActivity, profile

from fer_core.gpu.face_extractor import BATCH_PICTURES, GpuFaceExtractor
from fer_core.min_face import Look
from fer_core.timing import Stopwatch

LEAST_FACE = 16.0

Spans = list[tuple[float, float]]


def overlap(extractor: GpuFaceExtractor, pictures: Sequence[NDArray[np.uint8]], device: torch.device) -> dict[str, Any]:
    """Batches one after another, each sent while the one before is computed, against the same batches with a pause after each."""
    batches = [pictures[start : start + BATCH_PICTURES] for start in range(0, len(pictures), BATCH_PICTURES)]

    def together() -> None:
        extractor.extract(pictures, [Look(LEAST_FACE)] * len(pictures), Stopwatch())

    def apart() -> None:
        for batch in batches:
            extractor.extract(batch, [Look(LEAST_FACE)] * len(batch), Stopwatch())

    out: dict[str, Any] = {"pictures": len(pictures), "batches": len(batches)}
    for name, call in (("seconds_together", together), ("seconds_one_by_one", apart)):
        call()
        start = time.perf_counter()
        call()
        out[name] = round(time.perf_counter() - start, 4)
    if device.type == "cuda":
        out |= {"hidden_waits_a_look": _waits(together), **_traced(together)}
    return out


def _waits(call: Callable[[], None]) -> int:
    """Operations that made the host wait for the device, besides the one wait for a batch's results (an event, which is not counted)."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            call()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(one.message) for one in told)


def _traced(call: Callable[[], None]) -> dict[str, Any]:
    """Milliseconds of copies and of kernels, and of copies while a kernel ran."""
    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        call()
        torch.cuda.synchronize()
    up, down, kernels = Spans(), Spans(), Spans()
    for event in trace.events():
        if not str(event.device_type).endswith("CUDA"):
            continue
        where = up if "HtoD" in event.name else down if "DtoH" in event.name else kernels if not event.name.startswith("Mem") else None
        if where is not None:
            where.append((event.time_range.start, event.time_range.end))
    busy = merged(kernels)
    return {
        "kernel_ms": _length(busy),
        "upload_ms": _length(merged(up)),
        "upload_beside_kernels_ms": _length(shared(merged(up), busy)),
        "download_ms": _length(merged(down)),
        "kernels": len(kernels),
    }


def merged(spans: Spans) -> Spans:
    """Spans of time without overlaps, in order."""
    out: Spans = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = out[-1][0], max(out[-1][1], end)
        else:
            out.append((start, end))
    return out


def shared(one: Spans, other: Spans) -> Spans:
    """The time that is in both; each without overlaps and in order."""
    out, left, right = Spans(), 0, 0
    while left < len(one) and right < len(other):
        start, end = max(one[left][0], other[right][0]), min(one[left][1], other[right][1])
        if start < end:
            out.append((start, end))
        if one[left][1] < other[right][1]:
            left += 1
        else:
            right += 1
    return out


def _length(spans: Spans) -> float:
    """Milliseconds; the profiler counts microseconds."""
    return round(sum(end - start for start, end in spans) / 1000, 3)
