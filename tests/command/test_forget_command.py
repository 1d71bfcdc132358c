"""`ferflow forget`: one line of counts, an audit record, and no name in any of them."""

import json

import pytest

from fer_core.commit.lease import lease
from tests.support.fakes import tree
from tests.support.remembered import remember
from tests.support.written import written

ROWS = {"faces": 4, "images": 4, "labels": 8, "plan": 6, "reviews": 2, "staging": 10}


@pytest.fixture
def root(tmp_path):
    return remember(str(tmp_path / "root"), tmp_path / "photos")


def test_an_image_is_forgotten(root, call):
    before = tree(root.photos.parent)
    tried = json.loads(call("forget", root.store.url(), "--image", root.uri, "--dry-run", "--json").out)
    assert tried == {"root": root.store.url(), "dry_run": True, "rows": ROWS, "runs": 4, "audit": None, "delta": {}}
    assert tree(root.photos.parent) == before
    ended = call("forget", root.store.url(), "--image", root.uri, "--reason", "request 17", "--json")
    done = json.loads(ended.out)
    assert done == {**tried, "dry_run": False, "audit": done["audit"]}
    assert not {root.uri, root.copy, root.sha256} & {*ended.out.split('"'), *ended.err.split()}
    assert json.loads(root.store.read_bytes(done["audit"].removeprefix(f"{root.store.url()}/")))["reason"] == "request 17"
    assert root.traces(root.uri, root.copy, root.sha256) == []
    assert call("verify", root.store.url()).code == 0
    again = call("forget", root.store.url(), "--sha256", root.sha256)
    assert (again.code, again.out) == (0, f"nothing in {root.store.url()} names it, and it is denied to later runs already\n")
    assert json.loads(call("find", root.store.url(), "--image", root.uri, "--json").out)["denied"] is True


def test_a_list_of_addresses_and_digests(root, call, tmp_path):
    (tmp_path / "requests.txt").write_text(f"\n{root.photos}/image-000.png\n{root.sha256.upper()}\n")
    done = json.loads(call("forget", root.store.url(), "--list", tmp_path / "requests.txt", "--json").out)
    assert (done["rows"]["images"], done["rows"]["labels"]) == (6, 10)
    assert root.traces(root.uri, root.copy, root.sha256, f"{root.photos}/image-000.png") == []


def test_wrong_use_is_one_line(root, call, tmp_path):
    url = root.store.url()
    (tmp_path / "empty.txt").write_text("\n")
    assert call("forget", url, "--list", tmp_path / "empty.txt").err == f"ferflow: {tmp_path}/empty.txt names no image\n"
    assert call("forget", url, "--face", "0" * 64).err == "ferflow: no committed run has 1 of the faces that were named\n"
    assert call("forget", tmp_path / "absent", "--image", "x").err == f"ferflow: there is no run in {tmp_path}/absent\n"
    assert call("forget", url).code == 2
    with lease(root.store, "run other"):
        refused = call("forget", url, "--image", root.uri)
    assert (refused.code, "another process is writing" in refused.err) == (1, True)
    assert not (tmp_path / "absent").exists()


def test_what_was_written_elsewhere_is_listed_and_removed(call, tmp_path):
    made = written(str(tmp_path / "root"), tmp_path)
    url = made.root.store.url()
    tried = json.loads(call("forget", url, "--image", made.root.uri, "--everywhere", "--dry-run", "--json").out)
    assert len(tried["outputs"]) == 10
    listed = call("forget", url, "--image", made.root.uri, "--everywhere")
    assert (listed.code, listed.out.splitlines()[-1]) == (0, f"to remove it from them: ferflow forget {url} --everywhere --yes")
    assert len(made.traces(made.root.sha256)) == 11
    done = call("forget", url, "--everywhere", "--yes", "--reason", "request 17")
    assert f"{made.out}/gallery.html: removed (write it again: ferflow gallery {url} --to {made.out}/gallery.html)" in done.out
    assert made.traces(made.root.uri, made.root.copy, made.root.sha256) == []
    [left] = json.loads(call("forget", url, "--everywhere", "--json").out)["outputs"]
    assert (left["kind"], left["state"]) == ("model", "trained")


@pytest.mark.parametrize("words", [("--yes", "--image", "x"), ("--everywhere", "--yes", "--dry-run"), ("--undo", "--everywhere"), ()])
def test_options_that_do_not_fit_are_refused(root, call, words):
    ended = call("forget", root.store.url(), *words)
    assert (ended.code, ended.err.count("\n")) == (2, 1)


def test_undo_reads_the_file_that_is_named(root, call):
    url = root.store.url()
    assert call("forget", url, "--image", root.uri).code == 0
    assert call("forget", url, "--image", root.uri, "--undo", "--dry-run").code == 2
    undone = json.loads(call("forget", url, "--image", root.uri, "--undo", "--json").out)
    assert (undone["lifted"], sorted(undone)) == ({"image": 1, "sha256": 1, "face": 0}, ["audit", "lifted", "root"])
    assert call("forget", url, "--image", root.uri, "--undo").err == f"ferflow: nothing that was named is denied in {url}\n"
    assert json.loads(call("find", url, "--image", root.uri, "--json").out)["denied"] is False
