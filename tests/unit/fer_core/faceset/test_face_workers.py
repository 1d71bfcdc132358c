"""Processes that look for faces: each keeps to its core, and searches loose crops at the size that suits the detector."""

import cv2
import numpy as np

from fer_core.detect.registry import build, crop_side
from fer_core.faceset.face_workers import detect_faces, face_workers
from fer_core.faceset.framing import find_points


def threads():
    """Of a worker's OpenCV, and of the networks that it loads."""
    from fer_core.threads import network_threads

    return cv2.getNumThreads(), network_threads()


def test_a_process_keeps_to_one_core_and_to_the_size_for_crops():
    """Two processes with as many threads each as there are cores wait for one another most of the time on a busy machine."""
    from skimage import data

    face = cv2.resize(data.astronaut()[20:200, 130:310], (48, 48), interpolation=cv2.INTER_AREA)
    png = cv2.imencode(".png", cv2.cvtColor(face, cv2.COLOR_RGB2BGR))[1].tobytes()
    with face_workers("builtin", 1) as pool:
        assert pool.executor.submit(threads).result(timeout=280) == (1, 1)
        found = pool.executor.submit(detect_faces, [png]).result(timeout=280)[0].points * 48
    detector = build("builtin")
    assert np.allclose(found, find_points(face, detector, 320), atol=1e-3)
    assert np.abs(found - find_points(face, detector)).max() > 0.01  # otherwise the size has no effect


def test_only_the_built_in_detector_has_a_size_for_crops():
    assert crop_side("builtin") == 320
    assert crop_side("yunet:/detectors/yunet.onnx") is None
