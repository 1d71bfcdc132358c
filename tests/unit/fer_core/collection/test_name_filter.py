"""What is no image by its name, and what is excluded, in every kind of storage."""

import os
from dataclasses import replace

import pytest

from fer_core.collection.inventory import SourceOptions, collect, quick_count
from fer_core.collection.name_filter import DEFAULT_EXCLUDES, Excludes, NameFilter, ignored_kind
from fer_core.commit.plan import read_plan, write_plan
from fer_core.commit.publish import publish
from fer_core.errors import SourceError, UsageError
from fer_core.pipeline.shard import label_shard
from fer_core.pipeline.shard_jobs import jobs
from fer_core.planning.draft import draft
from fer_core.storage.store import open_store
from flows.cli.labelling_run import resume_command
from flows.label_params import LabelParams
from flows.label_summary import unlisted_lines
from flows.setup.checks import images_at_least
from flows.setup.label import check_apart
from tests.support import fakes
from tests.support.listed import fill

TAKEOUT = (
    *(f"{n}.HEIC" for n in range(8)),
    *(f"{n}.MOV" for n in range(8)),
    *(f"{n}.jpg" for n in range(4)),
    *(f"{n}.jpg.json" for n in range(12)),
)


BINS = ("@eaDir", ".@__thumb", ".thumbnails", "#recycle", ".Trash", ".Trash-1000", "$RECYCLE.BIN", ".stversions", ".git", "lost+found")


def options(*patterns, defaults=True):
    return SourceOptions(excludes=Excludes(patterns, defaults))


def names(found, root):
    return [uri.removeprefix(f"{root}/") for uri in found.images["image_uri"].to_pylist()]


@pytest.fixture(params=["local", "memory", "s3"])
def root(request, tmp_path):
    if request.param == "s3":
        return request.getfixturevalue("s3_root")
    return str(tmp_path / "root") if request.param == "local" else f"memory://names-{tmp_path.name}/root"


def test_a_takeout_has_twelve_photographs_in_every_storage(root):
    store = open_store(root)
    for name in (*TAKEOUT, "@eaDir/0.jpg/SYNOPHOTO_THUMB_M.jpg", "x/.Trash-1000/files/gone.jpg", ".trashed-99-a.jpg", "x/.DS_Store"):
        store.write_bytes(name, b"1")
    found = collect(root)
    assert names(found, root) == sorted(name for name in TAKEOUT if name.endswith(("C", "g")))
    assert found.names.ignored == {"video": 8, "sidecar": 12, "system": 1}
    assert found.names.excluded == 3
    if root.startswith("s3"):
        assert quick_count(root) == 12
    elif root.startswith("/"):
        assert images_at_least(root, 100) == 12
    everything = collect(root, options(defaults=False))
    assert len(names(everything, root)) == 15
    assert names(collect(f"{root}/*.jpg"), root) == [f"{n}.jpg" for n in range(4)]
    assert names(collect(root, options("*.HEIC", f"{root}/x", "[01].jpg")), root) == ["2.jpg", "3.jpg"]


@pytest.mark.parametrize("bin_name", BINS)
def test_no_thumbnail_and_no_deleted_photograph_is_listed(tmp_path, bin_name):
    """The faces in them are of people whose photographs were removed, or are there in full."""
    fill(tmp_path, "a.jpg", f"{bin_name}/b.jpg", f"2024/May/{bin_name.upper()}/deep/c.jpg")
    assert names(collect(str(tmp_path)), tmp_path) == ["a.jpg"]
    assert len(names(collect(str(tmp_path), options(defaults=False)), tmp_path)) == 3


def test_what_is_named_is_listed_whatever_it_is_called(root):
    store = open_store(root)
    store.write_bytes("clip.mov", b"1")
    store.write_bytes("@eaDir/a.jpg", b"1")
    store.write_bytes("lists/all.txt", f"{root}/clip.mov\n{root}/@eaDir/a.jpg".encode())
    assert names(collect(f"{root}/clip.mov"), root) == ["clip.mov"]
    assert names(collect(f"{root}/@eaDir"), root) == ["@eaDir/a.jpg"]
    assert names(collect(f"{root}/lists/all.txt"), root) == ["@eaDir/a.jpg", "clip.mov"]
    with pytest.raises(SourceError, match="--exclude is for folders, prefixes and patterns"):
        collect(f"{root}/lists/all.txt", options("private"))
    store.write_bytes("films/b.mov", b"1")
    with pytest.raises(SourceError, match=r"nothing in .* but 1 files that are no images by their names$"):
        collect(f"{root}/films")


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("private", ["a.jpg", "x/a.png", "x/deep/b.jpg"]),
        ("*.jpg", ["x/a.png", "x/private/p.png"]),
        ("x/*/*", ["a.jpg", "x/a.png"]),
        ("/x", ["a.jpg"]),
        ("x/", ["a.jpg"]),
        ("**/deep", ["a.jpg", "x/a.png", "x/private/p.png"]),
        ("deep/*.jpg", ["a.jpg", "x/a.png", "x/deep/b.jpg", "x/private/p.png"]),
        ("{root}/x/private", ["a.jpg", "x/a.png", "x/deep/b.jpg"]),
        ("PRIVATE", ["a.jpg", "x/a.png", "x/deep/b.jpg", "x/private/p.png"]),
    ],
)
def test_patterns(tmp_path, pattern, left):
    fill(tmp_path, "a.jpg", "x/a.png", "x/deep/b.jpg", "x/private/p.png")
    found = collect(str(tmp_path), options(pattern.replace("{root}", str(tmp_path))))
    assert names(found, tmp_path) == left
    gone = {"a.jpg", "x/a.png", "x/deep/b.jpg", "x/private/p.png"} - set(left)
    assert all(found.names.leaves_out(f"{tmp_path}/{name}") for name in gone)
    assert not any(found.names.leaves_out(f"{tmp_path}/{name}") for name in left)


@pytest.mark.parametrize("pattern", ["/", ".", "../x", "x/../y"])
def test_patterns_that_are_none(tmp_path, pattern):
    with pytest.raises(SourceError, match="is no name and no path below the source"):
        NameFilter(str(tmp_path), Excludes((pattern,)))


def test_a_link_does_not_lead_into_a_bin(tmp_path):
    fill(tmp_path, "in/a.jpg", "in/#recycle/gone.jpg", "out/.thumbnails/t.jpg")
    (tmp_path / "in/bin").symlink_to("#recycle")
    (tmp_path / "in/thumbs").symlink_to("../out/.thumbnails")
    for follow in (False, True):
        found = collect(str(tmp_path / "in"), SourceOptions(follow_links=follow))
        assert names(found, tmp_path / "in") == ["a.jpg"]
        assert found.names.folders == {f"{tmp_path}/in/{name}" for name in ("#recycle", "bin", "thumbs")}


def test_names_decide_and_nothing_is_opened(tmp_path):
    os.mkdir(tmp_path / "closed.mov")
    fill(tmp_path, "words.jpg", "closed.mov/a.jpg", "photo.JSON.jpg", "noext", ".mp4x")
    assert names(collect(str(tmp_path)), tmp_path) == [".mp4x", "closed.mov/a.jpg", "noext", "photo.JSON.jpg", "words.jpg"]
    assert [ignored_kind(name) for name in ("a.Mp4", "._a.jpg", "Thumbs.db", "list.csv", "all.txt", "a.heic", "jpg")] == [
        *("video", "system", "system"),
        *(None,) * 4,
    ]
    assert all(NameFilter("/p", Excludes()).leaves_out(f"/p/x/{name.replace('*', '-1').upper()}/a.jpg") for name in DEFAULT_EXCLUDES)


def test_what_becomes_ignored_or_excluded_is_not_deleted(tmp_path):
    """And the counts reach the manifest, also of a run that is resumed."""
    folder = tmp_path / "photos"
    fakes.write_pictures(folder, [1, 2])
    fill(folder, "clip.mov", ".stversions/old.jpg", "private/p.jpg", "gone.jpg")
    run = replace(fakes.config(tmp_path / "labels"), source=str(folder))
    every = [f"{folder}/{file.relative_to(folder)}" for file in folder.rglob("*") if file.is_file()]
    fakes.label(run, [ref for ref in fakes.refs(folder) if ref.uri in every])
    (folder / "gone.jpg").unlink()
    store = open_store(run.root)
    drawn = draft(store, replace(run, run_id="second"), collect(str(folder), options("private")), workers=1, force=False)
    assert (drawn.listed, drawn.deleted, drawn.excluded, drawn.ignored) == (2, 1, 2, {"video": 1})
    plan = write_plan(store, drawn)
    assert read_plan(store, "second").ignored == {"video": 1}
    todo = jobs(plan.config, plan.images, sorted(set(plan.images["shard"].to_pylist())))
    manifest = publish(store, plan.config, [label_shard(job, fakes.tools()) for job in todo])
    assert (manifest.deleted, manifest.excluded, manifest.ignored) == (1, 2, {"video": 1})
    assert unlisted_lines(manifest.excluded, manifest.ignored)[0].endswith(": 1 video")


def test_options_of_the_form_and_of_a_command_to_resume():
    params = LabelParams(source="/p", to="/l", exclude=["*.png", "private"], no_default_excludes=True)
    assert params.source_options.excludes == Excludes(("*.png", "private"), defaults=False)
    command = resume_command(("label", "/p", "--to", "/l"), params, "one")
    assert command == "ferflow label /p --to /l --resume one --exclude '*.png' --exclude private --no-default-excludes"


@pytest.mark.parametrize(
    ("pattern", "refused"),
    [("**", True), ("**/*.jpg", True), ("*/*", True), ("lab*/**", True), ("*.jpg", False), ("x*/**", False)],
)
def test_a_root_below_a_pattern_is_refused_where_the_pattern_reaches(tmp_path, pattern, refused):
    fill(tmp_path, "p/a.jpg")
    (tmp_path / "link").symlink_to("p")
    for source, root in ((tmp_path / "p", tmp_path / "link/labels"), ("s3://bucket/p", "s3://bucket/p/labelled")):
        if refused:
            with pytest.raises(UsageError, match="lies inside the source"):
                check_apart(f"{source}/{pattern}", str(root))
        else:
            check_apart(f"{source}/{pattern}", str(root))
        check_apart(f"{source}/{pattern}", f"{source}-labels")
