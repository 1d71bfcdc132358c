"""Detector specs: what `--detector` may say and what is answered to what it may not."""

import subprocess
import sys

import pytest

from fer_core.detect.registry import YUNET_FILE, build, folder, identity, notice, resolve
from fer_core.errors import DetectorError, UsageError


@pytest.fixture(autouse=True)
def detectors(tmp_path, monkeypatch):
    """An empty folder of detector files, and a home without any."""
    monkeypatch.setenv("FERFLOW_DETECTORS", str(tmp_path / "detectors"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "detectors").mkdir()
    return tmp_path / "detectors"


def test_auto_takes_yunet_where_its_file_lies_else_the_builtin(detectors):
    assert resolve("auto") == "builtin"
    (detectors / YUNET_FILE).write_bytes(b"x")
    assert resolve("auto") == f"yunet:{detectors / YUNET_FILE}" == resolve("yunet")


def test_the_folder_is_the_variable_then_the_cache(detectors, monkeypatch, tmp_path):
    assert folder() == detectors
    monkeypatch.delenv("FERFLOW_DETECTORS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert folder() == tmp_path / "cache" / "ferflow" / "detectors"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert folder() == tmp_path / "home" / ".cache" / "ferflow" / "detectors"


IDENTIFY = """
import sys
from fer_core.detect.registry import identity
print(identity("auto"), *({"cv2", "onnx", "onnxruntime", "torch"} & set(sys.modules)))
"""


def test_a_run_is_planned_without_what_runs_the_builtin_one():
    """Regression: half a second of every command's start."""
    done = subprocess.run([sys.executable, "-c", IDENTIFY], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [identity("builtin")] == [build("builtin").identity]


def test_files_become_absolute(detectors, monkeypatch):
    (detectors / "a b:c.onnx").write_bytes(b"x")
    monkeypatch.chdir(detectors)
    assert resolve("yunet:a b:c.onnx") == f"yunet:{detectors}/a b:c.onnx"
    assert resolve("scrfd:a b:c.onnx") == f"scrfd:{detectors}/a b:c.onnx"
    assert resolve(resolve("yunet:a b:c.onnx")) == resolve("yunet:a b:c.onnx")


@pytest.mark.parametrize(
    "spec", ["", "retina", "scrfd", "scrfd:", "insightface", "insightface:", "insightface:../x", "auto:x", "builtin:x", "YuNet"]
)
def test_an_unknown_detector_is_wrong_use_and_lists_the_choices(spec):
    with pytest.raises(UsageError, match=r"choose one of auto, builtin, yunet\[:FILE\], insightface:PACK, scrfd:FILE"):
        resolve(spec)


@pytest.mark.parametrize("spec", ["yunet:/nowhere/x.onnx", "scrfd:/nowhere/x.onnx"])
def test_a_missing_file_is_named(spec):
    with pytest.raises(DetectorError, match=r"^detector file not found: /nowhere/x\.onnx$"):
        resolve(spec)


def test_yunet_without_a_file_says_where_to_put_it(detectors):
    with pytest.raises(DetectorError, match=f"put {YUNET_FILE} into {detectors}"):
        resolve("yunet")


def test_a_folder_is_no_file(detectors):
    with pytest.raises(DetectorError, match="not found"):
        resolve(f"yunet:{detectors}")


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08\x07" + bytes(500)])
@pytest.mark.parametrize("kind", ["yunet", "scrfd"])
def test_a_file_that_is_no_network_is_one_sentence(detectors, kind, content, capfd):
    file = detectors / "broken.onnx"
    file.write_bytes(content)
    with pytest.raises(DetectorError, match=r"^not an? (YuNet|SCRFD) file .*broken\.onnx$"):
        build(f"{kind}:{file}")
    assert capfd.readouterr() == ("", "")


def test_a_pack_that_cannot_be_had_is_one_sentence(monkeypatch):
    """No way out of this machine: answered at once."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(DetectorError, match=r"pack buffalo_s is not in ~/\.insightface/models and cannot be downloaded"):
        build("insightface:buffalo_s")


def test_a_pack_without_a_detector_is_one_sentence(tmp_path):
    pack = tmp_path / "home" / ".insightface" / "models" / "mine"
    pack.mkdir(parents=True)
    (pack / "w600k_r50.onnx").write_bytes(b"x")
    with pytest.raises(DetectorError, match="pack mine holds no detector"):
        build("insightface:mine")


def test_licences_are_told():
    assert "non-commercial" in (notice("scrfd:/x.onnx") or "")
    assert "non-commercial" in (notice("insightface:buffalo_l") or "")
    assert notice("builtin") is None
    assert notice("yunet:/x.onnx") is None


def test_resolving_loads_nothing_heavy():
    code = "import sys, fer_core.detect.registry as c; c.resolve('auto'); print({'cv2', 'insightface', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
