"""The registry of a root's outputs: whole entries, two writers at once, and nothing that other users could read."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from socket import gethostname

import pytest

from fer_core.errors import AccessError, OutageError
from fer_core.outputs.registry import RegisteredOutput, is_registered, register_output, registered_outputs
from fer_core.storage.store import open_store
from tests.support import fakes

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)


def test_an_output_is_one_entry_on_any_storage(any_root):
    store = open_store(any_root)
    assert list(registered_outputs(store)) == []
    assert not is_registered(store, "/out/gallery.html")
    register_output(store, "/out/gallery.html", "gallery", ["b", "a", "b"], NOW)
    register_output(store, "/out/gallery.html", "gallery", ["c"], NOW)
    assert is_registered(store, "/out/gallery.html")
    register_output(store, "s3://bucket/current/current.parquet", "current", now=NOW)
    found = {output.url: output for _, output in registered_outputs(store)}
    assert found["/out/gallery.html"] == RegisteredOutput(
        "/out/gallery.html", "gallery", ("c",), "2026-11-24T10:00:00+00:00", gethostname()
    )
    assert (len(found), found["s3://bucket/current/current.parquet"].run_ids) == (2, ())


def test_a_relative_path_is_kept_as_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    register_output(open_store(str(tmp_path / "root")), "g.html", "gallery")
    assert [output.url for _, output in registered_outputs(open_store("root"))] == [f"{tmp_path}/g.html"]


def test_a_name_that_no_entry_can_hold_is_not_registered(tmp_path):
    store = open_store(str(tmp_path / "root"))
    for url in ("/out/\udcff.html", "s3://bucket/../g.html"):
        register_output(store, url, "gallery")
        assert not is_registered(store, url)


def test_writers_at_once_lose_nothing(tmp_path):
    store = open_store(str(tmp_path / "root"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: register_output(store, f"/out/{number % 20}.html", "gallery", [f"run-{number}"]), range(60)))
    found = [output for _, output in registered_outputs(store)]
    assert sorted(output.url for output in found) == sorted(f"/out/{number}.html" for number in range(20))


@pytest.mark.parametrize("moment", ["before", "after"])
def test_cut_off_there_is_a_whole_entry_or_none(tmp_path, moment):
    store = open_store(str(tmp_path / "root"))
    with pytest.raises(fakes.CutOffError):
        register_output(fakes.FaultyStore(store, 1, moment), "/out/g.html", "gallery")
    assert [output.kind for _, output in registered_outputs(store)] == ([] if moment == "before" else ["gallery"])


def test_a_damaged_or_hostile_entry_is_none(tmp_path):
    store = open_store(str(tmp_path / "root"))
    register_output(store, "/out/g.html", "gallery", now=NOW)
    [(path, good)] = registered_outputs(store)
    value = json.loads(good.to_bytes())
    changes = [{"kind": "disk"}, {"url": 3}, {"url": "s3://key:secret@bucket/x"}, {"url": "/" + "x" * 5000}, {"run_ids": ["../.."]}]
    changes += [{"url": "/a/.."}, {"url": "/a\0b"}, {"url": "g.html"}, {"url": ""}]
    changes += [{"version": 2}, {"more": 1}, {"url": "/etc/passwd"}]  # the last lies under another output's name
    for change in changes:
        store.write_bytes(path, json.dumps({**value, **change}).encode())
        assert list(registered_outputs(store)) == [(path, None)]
    for data in (b"", b"[]", b"{", good.to_bytes()[:-9]):
        store.write_bytes(path, data)
        assert list(registered_outputs(store)) == [(path, None)]


def test_entries_are_as_private_as_the_root(tmp_path):
    store = open_store(str(tmp_path / "root"))
    register_output(store, "/out/g.html", "gallery")
    for place in (tmp_path / "root").rglob("*"):
        assert stat.S_IMODE(place.stat().st_mode) & 0o077 == 0


def test_a_root_that_cannot_be_written_says_so_and_an_outage_ends_it(tmp_path):
    (tmp_path / "file").write_text("")
    unwritable = open_store(str(tmp_path / "file" / "root"))
    register_output(unwritable, "/out/g.html", "gallery")
    assert not is_registered(unwritable, "/out/g.html")

    class Refusing(fakes.FaultyStore):
        def write_bytes(self, path, data):
            raise AccessError("read only")

    class Silent(fakes.FaultyStore):
        def write_bytes(self, path, data):
            raise OutageError("no answer")

    root = open_store(str(tmp_path / "root"))
    register_output(Refusing(root, 0, "before"), "/out/g.html", "gallery")
    assert not is_registered(root, "/out/g.html")
    with pytest.raises(OutageError):
        register_output(Silent(root, 0, "before"), "/out/g.html", "gallery")
