"""What a processor can do, beside which every speed is read: its vector instructions, and the rate of its matrix products."""

import time
from typing import Final

import torch

SIDE: Final = 1024
"""Of the matrices that are multiplied."""
ROUNDS: Final = 9


def instructions() -> str:
    """The widest vector instructions that torch uses here, such as `AVX512`."""
    return torch.backends.cpu.get_cpu_capability()


def matrix_gflops(side: int = SIDE) -> float:
    """10^9 operations a second of one thread's float32 matrix product: the fastest of several, since other work can only slow it down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    one, other, taken = torch.rand(side, side), torch.rand(side, side), list[float]()
    for _ in range(ROUNDS):
        start = time.perf_counter()
        torch.mm(one, other)
        taken.append(time.perf_counter() - start)
    torch.set_num_threads(threads)
    return 2 * side**3 / min(taken) / 1e9
