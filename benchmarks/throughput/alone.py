"""What one thread does of a picture and no more: decode it, or decode it and find its faces. For `all_cores.rate`."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from benchmarks.throughput.all_cores import Work
from fer_core.decode.decoder import DecodeLimits, decode
from fer_core.detect.registry import build

LIMITS = DecodeLimits(max_bytes=64 * 2**20, max_pixels=100_000_000)


def decoding() -> Work:
    """Files as ferflow decodes them."""
    return lambda file: decode(Path(file).read_bytes(), LIMITS)


def finding() -> Work:
    """Decoding, and ferflow's own detector."""
    detector = build("builtin")
    return lambda file: detector.detect(decode(Path(file).read_bytes(), LIMITS).pixels)


def libjpeg() -> Work:
    """Files through libjpeg-turbo and nothing else: simplejpeg where it is installed, or else OpenCV, which brings its own copy."""
    if bare() == "simplejpeg":
        decode_jpeg = import_module("simplejpeg").decode_jpeg
        return lambda file: decode_jpeg(Path(file).read_bytes())
    return lambda file: cv2.imdecode(np.frombuffer(Path(file).read_bytes(), np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)


def bare() -> str:
    """Which libjpeg-turbo `libjpeg` asks."""
    return "simplejpeg" if find_spec("simplejpeg") else "cv2.imdecode"
