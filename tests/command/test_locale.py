"""Names and terminals under a locale that is not UTF-8."""

import os
import shutil
import subprocess
import sys

import pytest

from fer_core.commit.publish import read_manifest
from fer_core.commit.reader import newest_run, read_images
from fer_core.storage.store import open_store
from fer_core.storage.uri import local_path, local_uri
from tests.support.processes import PATIENCE, REPOSITORY

LATIN = "en_US.ISO-8859-1"
"""In which the terminal shows `é` and `ó`, but no `ł`."""
NAME = "zażółć.png"


@pytest.fixture(scope="module")
def latin(tmp_path_factory):
    """Variables of the locale."""
    if shutil.which("localedef") is None:
        pytest.skip("localedef is not installed")
    folder = tmp_path_factory.mktemp("locales")
    made = subprocess.run(["localedef", "-i", "en_US", "-f", "ISO-8859-1", folder / LATIN], capture_output=True, text=True, check=False)
    if made.returncode > 1:
        pytest.skip(f"no Latin-1 locale can be made: {made.stderr.strip()[:200]}")
    return {"LOCPATH": str(folder), "LC_ALL": LATIN, "PYTHONUTF8": "0"}


@pytest.mark.slow
def test_a_night_under_latin_1_labels_what_one_under_utf_8_does(on_server, call, latin, two_pictures, tmp_path):
    source, root = tmp_path / "łódź", tmp_path / "étiquettes"
    source.mkdir()
    shutil.copy(two_pictures / "astronaut.png", source / NAME)
    words = ("label", source, "--to", root)
    process = on_server.start(*words, "--workers", 1, "--purpose", "caf\udce9", env=latin)
    process.stdout.reconfigure(encoding="latin-1")
    process.stderr.reconfigure(encoding="latin-1")
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "étiquettes" in out
    assert "Traceback" not in err
    store = open_store(str(root))
    manifest = newest_run(store)
    assert (manifest.source, manifest.purpose) == (str(source), "café")
    assert read_images(store, manifest)["image_uri"].to_pylist() == [str(source / NAME)]
    assert call(*words, "--dry-run", "--json").json["unchanged"] == 1
    with open("/dev/full", "wb") as full:  # on_server.run reads both
        env = on_server.environment(latin)
        ended = subprocess.run(
            ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-m", "flows.cli.main", *map(str, words), "--run-id", "second"],
            env=env,
            stdout=full,
            cwd=REPOSITORY,
            check=False,
            timeout=PATIENCE,
        )
    assert ended.returncode == 0
    assert (read_manifest(store, "second").listed, read_manifest(store, "second").unchanged) == (1, 1)


NAMES = "import sys; sys.path.insert(0, {root!r}); from fer_core.storage.uri import local_path, local_uri; import os; print(ascii({code}))"


def under(latin, code):
    words = [sys.executable, "-c", NAMES.format(root=str(REPOSITORY), code=code)]
    env = {**os.environ, **latin}
    return subprocess.run(words, env=env, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout.strip()


def test_the_bytes_of_a_name_count(latin):
    """Also in a worker on another machine, whose mode its administrator chooses."""
    for name in ("/caf\u00e9", "/\u0142"):
        assert under(latin, f"local_uri(os.fsdecode({name.encode()!r}))") == ascii(name) == ascii(local_uri(name))
        assert under(latin, f"os.fsencode(local_path({name!a}))") == ascii(name.encode())
    quoted = "file:///caf%E9"
    assert under(latin, "local_uri(os.fsdecode(b'/caf\\xe9'))") == ascii(quoted) == ascii(local_uri(os.fsdecode(b"/caf\xe9")))
    assert under(latin, f"os.fsencode(local_path({quoted!r}))") == ascii(b"/caf\xe9") == ascii(os.fsencode(local_path(quoted)))
