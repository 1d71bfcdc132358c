"""The flow `forget`: its form, its log, its page, and what Prefect stores of it, in a root with three runs."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from fer_core.outputs.mark import html_mark
from fer_core.outputs.registry import register_output
from fer_core.storage.store import open_store
from flows.forget import ForgetParams
from tests.support.remembered import Remembered, remember

FORGET = """
import json, sys
from flows.server.prefect_api import flush, prefect_api
from flows.server.session import session

root, listed, image = sys.argv[1:]
with session(), prefect_api() as api, api.ready():
    from fer_core.errors import FerflowError
    from flows.forget import ForgetParams, forget
    from prefect.client.orchestration import get_client

    def tried(**given):
        try:
            record = forget(ForgetParams(root=root, **given))
            return None if record is None else record.rows
        except FerflowError as error:
            return {"error": str(error)}

    said = [tried(), tried(list_file=listed), tried(list_file=listed, dry_run=False, everywhere=True, reason="request 17")]
    said.append(tried(sha256="0" * 64))
    flush()
    with get_client(sync_client=True) as client:
        logs = [one.message for one in client.read_logs()]
        pages = [one.data for one in client.read_artifacts() if one.key == "forget"]
print(json.dumps({"said": said, "logs": logs, "pages": pages}))
"""


@pytest.mark.slow
def test_a_list_is_forgotten_and_prefect_stores_no_name(on_server, prefect_server_home, tmp_path):
    root = remember(str(tmp_path / "root"), tmp_path / "photos")
    listed = tmp_path / "requests.txt"
    listed.write_text(f"{root.uri}\n")
    page = tmp_path / "gallery.html"
    page.write_text(html_mark("gallery", [(root.sha256, root.uri)]))
    register_output(root.store, str(page), "gallery")
    done = subprocess.run(
        [sys.executable, "-c", FORGET, root.store.url(), str(listed), root.uri],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        env=on_server.environment(),
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    rows = {"faces": 4, "images": 4, "labels": 8, "plan": 6, "reviews": 2, "staging": 10}
    assert found["said"] == [{"error": "nothing is named: give a list, image, digest or face"}, rows, rows, {}]
    assert root.traces(root.uri, root.copy, root.sha256) == []
    text = "\n".join([*found["logs"], *found["pages"], done.stderr])
    assert "34 rows removed from 4 runs" in text
    assert not page.exists()
    assert [shown for shown in found["pages"] if "removed, 1 write it again: ferflow gallery" in shown]
    for name in (root.uri, root.copy, root.sha256, Path(root.uri).name):
        assert name not in text
        stored = [file for home in (on_server.home, prefect_server_home) for file in home.rglob("*") if file.is_file()]
        assert [file for file in stored if file.name.startswith("prefect.db")]
        assert [file for file in stored if name.encode() in file.read_bytes()] == []


@pytest.mark.slow
def test_a_night_after_it_reads_the_content_and_keeps_nothing_of_it(two_pictures, on_server, prefect_server_home, call, tmp_path):
    """A real night with workers, over a picture whose content is denied; crops are asked for."""
    photos = tmp_path / "photos"
    root = remember(str(tmp_path / "root"), tmp_path / "others").store.url()
    photos.mkdir()
    shutil.copy(two_pictures / "astronaut.png", photos / "renamed by Uncle Bob.png")
    digest = hashlib.sha256((photos / "renamed by Uncle Bob.png").read_bytes()).hexdigest()
    assert call("forget", root, "--sha256", digest).code == 0
    ended = on_server.run("label", photos, "--to", root, "--keep-crops", "--workers", 1, "--run-id", "night", "--json")
    assert ended.code == 0, ended.err
    assert [ended.json[name] for name in ("listed", "denied", "unchanged", "faces")] == [0, 1, 0, 0]
    assert Remembered(open_store(root), photos).traces(f"{photos}/renamed by Uncle Bob.png", digest) == []
    stored = [file for home in (on_server.home, prefect_server_home) for file in home.rglob("*") if file.is_file()]
    assert [file for file in stored if b"Uncle Bob" in file.read_bytes() or digest.encode() in file.read_bytes()] == []
    again = call("label", photos, "--to", root, "--dry-run", "--json")
    assert (again.code, *(again.json[name] for name in ("to_read", "denied", "expired"))) == (0, 0, 1, 0)
    assert call("verify", root).code == 0


def test_the_form_takes_one_way_to_name_it():
    ForgetParams(root="/labels", image="/photos/x.png")
    for wrong in ({"image": "/x", "sha256": "0" * 64}, {"sha256": "abc"}, {"face": "x"}, {"image": "s3://key:secret@bucket/x"}):
        with pytest.raises(ValidationError) as error:
            ForgetParams(root="/labels", **wrong)
        assert "secret@" not in str(error.value)
