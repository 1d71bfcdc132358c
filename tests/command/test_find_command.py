"""`ferflow find` lists every place that names an image, and changes nothing."""

import json

import pytest

from tests.support.fakes import tree
from tests.support.remembered import remember
from tests.support.written import written


@pytest.fixture
def root(tmp_path):
    return remember(str(tmp_path / "root"), tmp_path / "photos")


def test_the_places_of_an_image(root, call):
    before = tree(root.photos.parent)
    found = json.loads(call("find", root.store.url(), "--image", root.uri, "--json").out)
    assert list(found) == ["root", "denied", "addresses", "contents", "rows", "places", "outputs", "expired"]
    assert (found["denied"], found["addresses"], found["contents"]) == (False, [root.uri, root.copy], [root.sha256])
    assert [*found["places"][0]] == ["kind", "run_id", "path", "rows"]
    assert json.loads(call("find", root.store.url(), "--sha256", root.sha256.upper(), "--json").out) == found
    shown = call("find", root.store.url(), "--image", root.copy)
    assert shown.code == 0
    assert f"{found['rows']:,} rows in {len(found['places'])} files of {root.store.url()}; 2 addresses, 1 contents" in shown.out
    assert tree(root.photos.parent) == before


def test_outputs_are_searched_where_they_were_written(call, tmp_path):
    made = written(str(tmp_path / "root"), tmp_path)
    found = json.loads(call("find", made.root.store.url(), "--image", made.root.uri, "--json").out)
    assert {output["kind"] for output in found["outputs"]} == {"gallery", "report", "review", "current", "faceset", "reviewed", "model"}
    assert f"{made.out}/gallery.html: holds" in call("find", made.root.store.url(), "--sha256", made.root.sha256).out


def test_wrong_use_is_one_line(root, call, tmp_path):
    assert call("find", root.store.url(), "--sha256", "abc").err == "ferflow: a digest has 64 hexadecimal digits\n"
    assert call("find", tmp_path / "absent", "--image", "x").err == f"ferflow: there is no run in {tmp_path}/absent\n"
    both = call("find", root.store.url(), "--image", "x", "--sha256", "0" * 64)
    assert (both.code, "not allowed with" in both.err) == (2, True)
    assert not (tmp_path / "absent").exists()
