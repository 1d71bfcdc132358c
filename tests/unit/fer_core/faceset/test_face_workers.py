"""Processes that look for faces: each keeps to its core."""

from fer_core.faceset.face_workers import face_workers


def threads():
    """Of a worker's OpenCV, and of the networks that it loads."""
    import cv2

    from fer_core.threads import network_threads

    return cv2.getNumThreads(), network_threads()


def test_a_process_keeps_to_one_core():
    """Two processes with as many threads each as there are cores wait for one another most of the time on a busy machine."""
    with face_workers("builtin", 1) as pool:
        assert pool.executor.submit(threads).result(timeout=280) == (1, 1)
