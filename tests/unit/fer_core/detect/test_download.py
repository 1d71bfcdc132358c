"""YuNet's file comes whole and as released, or not at all, whatever the other side does."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fer_core.detect import download
from fer_core.detect.download import LIMITS, DownloadLimits, download_yunet
from fer_core.detect.registry import YUNET_FILE, resolve
from fer_core.errors import DetectorError, StoreError, UsageError
from tests.support.file_server import BAD, DIGEST, GOOD
from tests.support.processes import in_process

REPOSITORY = Path(__file__).resolve().parents[4]
SHARED = Path(os.environ.get("FERFLOW_SHARED", REPOSITORY.parent / "shared"))
REAL = SHARED / "data" / "detectors" / YUNET_FILE


@pytest.fixture(autouse=True)
def detectors(tmp_path, monkeypatch):
    """A folder for detectors that is not there yet."""
    monkeypatch.setenv("FERFLOW_DETECTORS", str(tmp_path / "cache" / "detectors"))
    return tmp_path / "cache" / "detectors"


def pull(url, to=None, limits=LIMITS):
    """Made bytes stand for YuNet's file."""
    return download_yunet(to, url, sha256=DIGEST, limits=limits)


def left(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


@pytest.mark.parametrize("path", ["good", "moved", "unsized", "chunked"])
def test_the_file_comes_whole(home, detectors, path):
    pulled = pull(home.url + path)
    assert (pulled.file, pulled.sha256, pulled.size, pulled.downloaded) == (detectors / YUNET_FILE, DIGEST, len(GOOD), True)
    assert left(detectors) == {YUNET_FILE: GOOD}
    assert pulled.file.stat().st_mode & 0o777 == 0o600
    assert resolve("auto") == f"yunet:{detectors / YUNET_FILE}"


def test_a_file_that_is_there_is_not_fetched_again(home, detectors):
    pull(home.url + "good")
    again = pull(home.url + "good")
    assert not again.downloaded
    assert (again.file, again.size) == (detectors / YUNET_FILE, len(GOOD))
    assert home.asked == ["/good"]


FAILURES = [
    ("missing", r"^cannot download YuNet: http://127\.0\.0\.1:\d+/missing answers 404 Not Found$"),
    ("broken", r"answers 503 Service Unavailable$"),
    ("round", r"answers 302"),
    ("away", r"answers 302"),
    ("truncated", rf"the connection to .*truncated ended after 1,000 of {len(GOOD):,} bytes$"),
    ("chunked_truncated", r"^cannot download YuNet from http://127\.0\.0\.1:\d+/chunked_truncated: IncompleteRead"),
    ("nonsense", r"^cannot download YuNet from http://127\.0\.0\.1:\d+/nonsense: "),
    ("wrong", rf"its sha256 is {hashlib.sha256(BAD).hexdigest()}, it should be {DIGEST}; the download was discarded$"),
    ("empty", rf"its sha256 is {hashlib.sha256(b'').hexdigest()}, it should be {DIGEST}; the download was discarded$"),
    ("promises_much", r"is not YuNet's file: it has 10,000,001 bytes, more than 10,000,000$"),
    ("sends_much", r"is not YuNet's file: it has more than 10,000,000 bytes$"),
]


@pytest.mark.parametrize(("path", "told"), FAILURES, ids=[path for path, _ in FAILURES])
@pytest.mark.parametrize("before", [None, b"an older one"])
def test_what_is_not_the_file_leaves_everything_as_it_was(home, detectors, path, told, before):
    if before:
        detectors.mkdir(parents=True)
        (detectors / YUNET_FILE).write_bytes(before)
    with pytest.raises(DetectorError, match=told) as caught:
        pull(home.url + path)
    assert "\n" not in str(caught.value)
    assert left(detectors) == ({YUNET_FILE: before} if before else {})


def test_too_much_is_not_read_to_its_end(home):
    with pytest.raises(DetectorError, match="more than"):
        pull(home.url + "sends_much")
    assert home.cut_off.wait(240)


def test_another_content_is_replaced_by_a_good_download(home, detectors):
    detectors.mkdir(parents=True)
    (detectors / YUNET_FILE).write_bytes(BAD)
    assert pull(home.url + "good").downloaded
    assert left(detectors) == {YUNET_FILE: GOOD}


@pytest.mark.parametrize("path", ["mute", "half"])
def test_silence_ends(home, detectors, path):
    with pytest.raises(DetectorError, match=rf"/{path} sent nothing for 0\.3 s$"):
        pull(home.url + path, limits=DownloadLimits(silence=0.3))
    assert left(detectors) == {}


def test_a_drip_ends(home, detectors):
    with pytest.raises(DetectorError, match=r"/drips takes longer than 0\.3 s$"):
        pull(home.url + "drips", limits=DownloadLimits(whole=0.3))
    assert left(detectors) == {}


def test_no_network_is_one_sentence(detectors):
    with pytest.raises(DetectorError, match=r"^cannot download YuNet from http://127\.0\.0\.1:9/x: Connection refused; is this machine"):
        pull("http://127.0.0.1:9/x")
    with pytest.raises(DetectorError, match=r"^cannot download YuNet from http://nowhere\.invalid/x: .*; is this machine online\?$"):
        pull("http://nowhere.invalid/x")
    assert left(detectors) == {}


@pytest.mark.parametrize(
    "url", ["", "x", "file:///etc/passwd", "ftp://host/x", "http://", "http:///x", "http://host:port/", "http://[::1/"]
)
def test_what_is_no_address_is_wrong_use(url):
    with pytest.raises(UsageError):
        pull(url)


def test_secrets_in_an_address_are_not_told(home):
    with pytest.raises(UsageError) as caught:
        pull("https://me:secret@host/x")
    assert "secret" not in str(caught.value)
    with pytest.raises(DetectorError) as refused:
        pull(home.url + "missing?token=secret")
    assert "secret" not in str(refused.value)
    assert home.asked == ["/missing?token=secret"]


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_fetched(home, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for folder, told in ((tmp_path / "file", "it is a file"), (tmp_path / "file" / "below", "Not a directory")):
        with pytest.raises((StoreError, DetectorError), match=f"^cannot .*{folder}.*{told}"):
            pull(home.url + "good", folder)
    assert home.asked == []


def test_a_folder_named_like_the_file_is_told(home, detectors):
    (detectors / YUNET_FILE).mkdir(parents=True)
    with pytest.raises(StoreError, match=r"cannot write .*Is a directory"):
        pull(home.url + "good")
    assert list(detectors.iterdir()) == [detectors / YUNET_FILE]


def test_the_address_and_the_digest_are_those_of_the_release():
    assert download.YUNET_SHA256 == "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
    assert download.YUNET_URL.startswith("https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/")
    assert download.YUNET_URL.endswith("/face_detection_yunet_2023mar.onnx")


@pytest.mark.shared_data
@pytest.mark.skipif(not REAL.is_file(), reason="the shared data are not beside the repository")
def test_the_real_file_has_the_digest_that_is_asked_for(tmp_path):
    shutil.copy(REAL, tmp_path)
    assert not download_yunet(tmp_path).downloaded


AS_IF = """
import sys
from functools import partial
from fer_core.detect import download
from flows.cli.main import main

download.download_yunet = partial(download.download_yunet, sha256=sys.argv.pop(1))
sys.exit(main())
"""
"""The real command with made bytes for YuNet's file."""


def start(commands, *words):
    environment = {name: value for name, value in commands.environment().items() if not name.lower().endswith("_proxy")}
    command = [sys.executable, "-c", AS_IF, DIGEST, "detectors", "pull", *map(str, words)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=commands.home)


def ended(process):
    out, err = process.communicate(timeout=280)
    return process.returncode, out, err


def test_the_command_pulls_once_and_says_so(home, commands):
    cache = commands.home / ".cache" / "ferflow" / "detectors"
    code, out, err = ended(start(commands, "yunet", "--url", home.url + "good"))
    assert (code, err) == (0, "")
    assert out == f"{cache / YUNET_FILE}: downloaded, sha256 verified\n"
    code, out, err = ended(start(commands, "yunet", "--url", home.url + "good", "--json"))
    assert (code, err) == (0, "")
    told = {"detector": "yunet", "file": str(cache / YUNET_FILE), "sha256": DIGEST, "bytes": len(GOOD), "downloaded": False}
    assert json.loads(out) == told
    assert home.asked == ["/good"]
    listed = commands.run("detectors", "list", "--json").json
    assert {row["detector"]: row for row in listed["detectors"]}["yunet"]["path"] == str(cache / YUNET_FILE)
    assert listed["auto"] == f"yunet:{cache / YUNET_FILE}"


def test_another_folder_is_named_with_the_way_to_use_it(home, commands):
    code, out, err = ended(start(commands, "yunet", "--url", home.url + "good", "--to", "my models"))
    assert (code, err) == (0, "")
    there = commands.home / "my models" / YUNET_FILE
    assert out.splitlines()[1].endswith(f"name this one as --detector yunet:{there}")
    assert there.read_bytes() == GOOD


def test_what_goes_wrong_is_one_line(home, monkeypatch, capsys):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for words, expected, told in (
        (("yunet", "--url", home.url + "missing"), 1, "answers 404"),
        (("yunet", "--url", home.url + "wrong"), 1, f"should be {download.YUNET_SHA256}"),
        (("yunet", "--url", "http://127.0.0.1:9/"), 1, "Connection refused"),
        (("yunet", "--url", "gopher://x/"), 2, "http or https"),
        (("scrfd",), 2, "only yunet can be pulled, not 'scrfd'; InsightFace's models are non-commercial"),
        (("buffalo_l", "--url", home.url + "good"), 2, "only yunet can be pulled"),
        ((), 2, "NAME"),
    ):
        said = in_process(capsys, "detectors", "pull", *words)
        assert (said.code, said.out, said.err.count("\n")) == (expected, "", 1), said.err
        assert said.err.startswith("ferflow: ")
        assert told in said.err


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_killed_while_downloading_it_leaves_nothing(home, commands, by):
    process = start(commands, "yunet", "--url", home.url + "half")
    assert home.half_sent.wait(240)
    process.send_signal(by)
    code, out, err = ended(process)
    assert code == (-signal.SIGKILL if by == signal.SIGKILL else 1)
    assert out == ""
    assert err == ("" if by == signal.SIGKILL else "ferflow: interrupted\n")
    cache = commands.home / ".cache" / "ferflow" / "detectors"
    assert left(cache) == {}
    assert ended(start(commands, "yunet", "--url", home.url + "good"))[0] == 0
    assert left(cache) == {YUNET_FILE: GOOD}


def test_many_at_once_are_as_one(home, detectors):
    """Each writes a file of its own before the rename."""
    pulled = []
    threads = [threading.Thread(target=lambda: pulled.append(pull(home.url + "good"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pulled) == 6
    assert left(detectors) == {YUNET_FILE: GOOD}
