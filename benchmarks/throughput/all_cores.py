"""The same work on every core at once: as many processes as cores, each with one thread, timed from the moment all of them are ready."""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from typing import Any

import cv2
import torch

Work = Callable[[Any], Any]
"""One item's work, once what it needs is loaded."""
PATIENCE = 300
"""Seconds within which every process must have loaded what it needs."""


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rate(prepare: Callable[[], Work], items: Sequence[Any], processes: int | None = None) -> float:
    """Items a second of all processes together, until the last of them ends.

    prepare: called in each process before the clock starts; a function of a module, since processes are spawned.
    """
    count = processes or cores()
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(count), context.SimpleQueue()
    workers = [context.Process(target=_worked, args=(prepare, items[number::count], ready, answers)) for number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise SystemExit("a process of the benchmark failed; its reason is above")
    spans = [answers.get() for _ in workers]
    return len(items) / float(max(end for _, end in spans) - min(start for start, _ in spans))


def _worked(prepare: Callable[[], Work], items: Sequence[Any], ready: Barrier, answers: "SimpleQueue[tuple[float, float]]") -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        work = prepare()
        if items:
            work(items[0])  # the first pass prepares kernels and memory
    except BaseException:
        ready.abort()
        raise
    ready.wait(PATIENCE)
    start = time.monotonic()  # one clock for all processes of a machine
    for item in items:
        work(item)
    answers.put((start, time.monotonic()))
