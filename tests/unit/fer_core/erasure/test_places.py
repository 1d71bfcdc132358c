"""Every place that names an image is found, by address or digest, and nothing else."""

from collections import Counter
from dataclasses import replace

import pytest

from fer_core.commit.deny_list import FILE
from fer_core.erasure.named import Named, image_uri, named_faces, named_images, sha256_of
from fer_core.erasure.places import places_of
from fer_core.errors import CommitError, UsageError
from tests.support import fakes
from tests.support.remembered import PLAIN, remember


@pytest.fixture
def root(tmp_path):
    return remember(str(tmp_path / "root"), tmp_path / "photos")


def counted(found):
    rows = Counter()
    for place in found:
        rows[place.kind, place.run_id] += place.rows
    return dict(rows)


EVERYWHERE = {
    ("labels", "first"): 2,
    ("images", "first"): 1,
    ("faces", "first"): 2,
    ("labels", "second"): 2,
    ("images", "second"): 1,
    ("faces", "second"): 2,
    ("labels", "third"): 4,
    ("images", "third"): 2,
    ("plan", "first"): 1,
    ("plan", "second"): 1,
    ("plan", "third"): 2,
    ("plan", "killed"): 2,
    ("reviews", ""): 2,
    ("staging", "killed"): 10,
}
"""Rows that name the picture or its copy."""


@pytest.mark.parametrize("any_root", ["local", "memory", "s3", pytest.param("swift", marks=pytest.mark.long)], indirect=True)
def test_by_address_by_copy_and_by_digest(any_root, tmp_path):
    root = remember(any_root, tmp_path / "photos")
    for named in (
        named_images(root.store, [root.uri]),
        named_images(root.store, [root.copy]),
        named_images(root.store, contents=[root.sha256]),
    ):
        assert named == Named(frozenset({root.uri, root.copy}), frozenset({root.sha256}))
        found = places_of(root.store, named)
        assert counted(found) == EVERYWHERE
        assert sorted({place.path for place in found}) == root.traces(root.uri, root.copy, root.sha256)


def test_what_is_not_there_is_found_nowhere_and_nothing_is_written(root):
    before = root.store.list_files()
    assert places_of(root.store, named_images(root.store, ["/nowhere.png"])) == []
    assert places_of(root.store, named_images(root.store, contents=["0" * 64])) == []
    assert root.store.list_files() == before
    assert FILE not in before


def test_an_address_that_has_another_content_now_is_not_the_image(root):
    """Its older rows with that content are."""
    (root.photos / "same-as-before.png").write_bytes(fakes.picture(1, seed=77))
    last = replace(fakes.config(root.store.url(), "last"), started_us=fakes.STARTED_US + 9)
    fakes.label(last, [ref for ref in fakes.refs(root.photos) if ref.uri == root.copy])
    root.store.remove_tree("_staging/killed")
    named = named_images(root.store, [root.uri])
    assert named == Named(frozenset({root.uri}), frozenset({root.sha256}))
    found = counted(places_of(root.store, named))
    assert (found["images", "second"], found["images", "third"]) == (1, 2)
    assert ("images", "last") not in found


def test_a_face_is_its_rows_alone(root):
    face = next(row for row in root.rows("labels") if row["image_uri"] == root.uri and row["face_index"] == 1)
    named = named_faces(root.store, [face["face_id"]])
    assert [one.image_sha256 for one in named.faces] == [root.sha256]
    found = counted(places_of(root.store, named))
    tables = {key: rows for key, rows in found.items() if key[0] != "staging"}
    assert tables == {
        ("labels", "first"): 1,
        ("faces", "first"): 1,
        ("labels", "second"): 1,
        ("faces", "second"): 1,
        ("labels", "third"): 2,
        ("reviews", ""): 1,
    }
    with pytest.raises(CommitError, match="no committed run has 1 of the faces"):
        named_faces(root.store, ["0" * 64])


def test_how_an_image_is_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert image_uri(PLAIN) == str(tmp_path / PLAIN)
    assert image_uri("~/x.png") == "/home/me/x.png"
    for verbatim in ("/photos//odd/../x.png", "s3://bucket/a b.png", "file:///photos/%ff.png"):
        assert image_uri(verbatim) == verbatim
    assert sha256_of("AB" * 32) == "ab" * 32
    with pytest.raises(UsageError, match="64 hexadecimal"):
        sha256_of("abc")
