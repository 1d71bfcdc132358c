"""The detector inside an InsightFace model pack, such as buffalo_l or buffalo_s.

Packs are downloaded once, by insightface, into ~/.insightface/models. Their models are for non-commercial research only.
"""

import contextlib
import io
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from fer_core.detect.scrfd import Scrfd
from fer_core.errors import DetectorError

CONNECT_SECONDS: Final = 8.0
"""Timeout for a response of the packs' server."""
DETECTOR_NAMES: Final = ("det_", "scrfd")
"""Prefixes of detector files in the packs; the other models of a pack are never loaded."""


class InsightFacePack(Scrfd):
    """A `Detector` over the SCRFD network of one pack, found by name, downloaded where that is possible."""

    def __init__(self, pack: str) -> None:
        super().__init__(_detector_file(pack, _folder(pack)), name=f"insightface-{pack}")


def _folder(pack: str) -> Path:
    """The pack's folder, downloaded where it is not there yet."""
    root = Path("~/.insightface").expanduser()
    folder = root / "models" / pack
    if folder.is_dir():
        return folder
    from insightface.utils.storage import ensure_available, model_zoo_download_url

    _check_reachable(pack, model_zoo_download_url(f"{pack}.zip"))
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return Path(ensure_available("models", pack, root=str(root)))
    except Exception as error:  # requests, zipfile and insightface raise many kinds of exceptions; the cause is kept
        raise DetectorError(f"the InsightFace pack {pack} could not be downloaded: {error}") from error


def _check_reachable(pack: str, url: str) -> None:
    """Check the server before insightface's own download, which waits for ever."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=CONNECT_SECONDS):
            return
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 404:
            raise DetectorError(f"there is no InsightFace pack named {pack}") from error
        raise DetectorError(f"the InsightFace pack {pack} cannot be downloaded: the server answers {error.code}") from error
    except OSError as error:
        raise DetectorError(f"the InsightFace pack {pack} is not in ~/.insightface/models and cannot be downloaded from here") from error


def _detector_file(pack: str, folder: Path) -> Path:
    files = sorted(folder.rglob("*.onnx"))
    for file in files:
        if file.name.startswith(DETECTOR_NAMES):
            return file
    raise DetectorError(f"the InsightFace pack {pack} holds no detector: {folder}")
