"""From `--detector` to a detector: `auto | builtin | yunet[:FILE] | insightface:PACK | scrfd:FILE`."""

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fer_core.detect.base import Detector
from fer_core.errors import DetectorError, UsageError

CHOICES: Final = "auto, builtin, yunet[:FILE], insightface:PACK, scrfd:FILE"
CROP_SIDE: Final = 320
YUNET_FILE: Final = "face_detection_yunet_2023mar.onnx"
"""The name under which OpenCV's model zoo releases it (Apache-2.0)."""
FOLDER_VARIABLE: Final = "FERFLOW_DETECTORS"

_PACK: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NON_COMMERCIAL: Final = "InsightFace's models are for non-commercial research only."


def folder() -> Path:
    """The folder of detector files: $FERFLOW_DETECTORS, or else ferflow/detectors in the user's cache."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "ferflow" / "detectors"


def resolve(spec: str) -> str:
    """The user's choice -> a spec that means the same in every process of a run: no `auto`, files by absolute path.

    `auto` is YuNet where its file lies in `folder()`, else the built-in detector: models with a non-commercial licence are used
    only when named. Loads nothing heavy. UsageError: no such choice. DetectorError: the file or the package is missing.
    """
    name, _, argument = spec.partition(":")
    if spec == "auto":
        return f"yunet:{folder() / YUNET_FILE}" if (folder() / YUNET_FILE).is_file() else "builtin"
    if spec == "builtin":
        return spec
    if name == "yunet":
        return f"yunet:{_file(argument) if argument else _cached_yunet()}"
    if name == "scrfd" and argument:
        _needs_insightface(spec)
        return f"scrfd:{_file(argument)}"
    if name == "insightface" and _PACK.fullmatch(argument):
        _needs_insightface(spec)
        return spec
    raise UsageError(f"unknown detector {spec!r}; choose one of {CHOICES}")


def build(spec: str, device: str = "cpu") -> Detector:
    """The detector of a spec; the built-in one on `device`, the others on the device that their libraries choose.

    DetectorError: its file is missing or wrong, or a pack cannot be downloaded.
    """
    resolved = resolve(spec)
    name, _, argument = resolved.partition(":")
    if name == "yunet":
        from fer_core.detect.yunet import YuNet

        return YuNet(Path(argument))
    if name == "scrfd":
        from fer_core.detect.scrfd import Scrfd

        return Scrfd(Path(argument))
    if name == "insightface":
        from fer_core.detect.insightface import InsightFacePack

        return InsightFacePack(argument)
    from fer_core.detect.builtin.detector import BuiltinDetector

    return BuiltinDetector(device=device)


def identity(spec: str) -> str:
    """The identity of the detector that `build` gives, its file checked. The built-in one's needs no runtime. Errors as there."""
    if resolve(spec) == "builtin":
        from fer_core.detect.builtin.identity import shipped_identity

        return shipped_identity()
    return build(spec).identity


def crop_side(spec: str) -> int | None:
    """Longest side of the finest pyramid level for a loose crop of one face, see `Detector`. None: what the detector chooses.

    spec: a resolved one. The built-in detector frames FER+ validation as well at this size as at its own, in a quarter of the time
    (docs/explanation/detector.md). YuNet misses two in a hundred more.
    """
    return CROP_SIDE if spec == "builtin" else None


def notice(spec: str) -> str | None:
    """A notice to show when this detector is used, or None."""
    return _NON_COMMERCIAL if spec.partition(":")[0] in {"scrfd", "insightface"} else None


def _file(written: str) -> Path:
    file = Path(written).expanduser().absolute()
    if not file.is_file():
        raise DetectorError(f"detector file not found: {file}")
    return file


def _cached_yunet() -> Path:
    file = folder() / YUNET_FILE
    if not file.is_file():
        raise DetectorError(f"no YuNet file: run `ferflow detectors pull yunet`, put {YUNET_FILE} into {folder()} or name it as yunet:FILE")
    return file


def _needs_insightface(spec: str) -> None:
    if find_spec("insightface") is None or find_spec("onnxruntime") is None:
        raise DetectorError(f"{spec} needs the packages insightface and onnxruntime, which are not installed")
