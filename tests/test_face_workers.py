"""Processes that look for faces: each keeps to its core."""

import sys

from fer_core.face_workers import face_workers


def threads():
    """Of a worker's torch, which its detector has loaded."""
    assert "torch" in sys.modules
    import torch

    return torch.get_num_threads()


def test_a_process_keeps_to_one_core():
    """Two processes with as many threads each as there are cores wait for one another most of the time on a busy machine."""
    with face_workers("builtin", 1) as pool:
        assert pool.executor.submit(threads).result(timeout=120) == 1
