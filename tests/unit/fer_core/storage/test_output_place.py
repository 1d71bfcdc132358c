"""Where files are written that are no part of a root: never in the tables of any."""

import shutil

import pytest

from fer_core.errors import UsageError
from fer_core.gallery import draw_gallery
from fer_core.storage.output_place import partition_above, refuse_in_tables, refuse_inside
from fer_core.storage.store import open_store
from flows.cli.main import main
from flows.setup.label import check_apart
from tests.support import fakes

REFUSED = "would lie in .* of the labels root .*: choose a place outside of it"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    fakes.label(fakes.config(folder / "root"), fakes.refs(fakes.write_pictures(folder / "photos", [1, 0])))
    return folder


@pytest.fixture
def root(made, tmp_path):
    shutil.copytree(made / "root", tmp_path / "root")
    (tmp_path / "link").symlink_to("root/labels")
    return tmp_path / "root"


@pytest.mark.parametrize(
    "below", ["labels/g.html", "images/run_date=2026-01-01/x", "faces/x", "_meta/x", "_staging/x", "labels", "../link/g.html"]
)
def test_in_the_tables_nothing_is_written(root, below):
    with pytest.raises(UsageError, match=REFUSED):
        refuse_in_tables(str(root / below))


def test_beside_them_it_may(root, tmp_path):
    for place in (root / "gallery.html", root / "notes/labels/x.html", tmp_path / "labels/x", tmp_path / "images.html"):
        refuse_in_tables(str(place))


def test_in_object_stores_too(s3_root):
    fakes.label(fakes.config(f"{s3_root}/images/root"), [])
    with pytest.raises(UsageError, match=REFUSED):
        refuse_in_tables(f"{s3_root}/images/root/labels/export")
    refuse_in_tables(f"{s3_root}/images/labels/x")
    with pytest.raises(UsageError, match="the target lies inside the labels root"):
        refuse_inside(open_store(f"{s3_root}/images/root/x"), open_store(f"{s3_root}/images/root"), "the target lies")


def test_every_command_that_writes_keeps_to_it(root, tmp_path, capsys):
    inside = str(root / "labels" / "new")
    other = str(tmp_path / "other")
    for words in (
        ("gallery", str(root), "--to", f"{inside}.html"),
        ("gallery", str(root), "--to", f"{other}.html", "--png", f"{inside}.png"),
        ("report", str(root), "--to", f"{inside}.html"),
        ("export", "current", str(root), "--to", inside),
        ("review", "export", str(root), "--to", inside),
        ("evaluate", other, "--plots", inside),
        ("train", other, "--to", inside),
        ("retrain", inside, "--reviewed", str(root)),
        ("dataset", "import", "folder", other, "--to", inside),
        ("dataset", "prepare", other, "--to", inside),
        ("dataset", "audit", other, "--to", inside),
        ("dataset", "correct", other, f"{other}.json", "--to", inside),
        ("models", "promote", "tiny", "--to", inside),
        ("detectors", "pull", "yunet", "--to", inside),
        ("label", str(tmp_path), "--to", inside, "--dry-run"),
    ):
        assert main(words) == 2, words
        told = capsys.readouterr().err
        assert "labels root" in told, (words, told)
        assert told.endswith("choose a place outside of it\n"), (words, told)
        assert fakes.tree(root).keys() == {file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()}
    assert not list((root / "labels").glob("new*"))
    with pytest.raises(UsageError, match=REFUSED):
        draw_gallery(str(root), root / "images/g.html", None, 3)


def test_a_new_root_is_not_made_below_a_partition(root, tmp_path):
    for name in ("run=5", "run_date=2026-01-01"):
        with pytest.raises(UsageError, match=f"lies below {name}, which readers take for a partition"):
            check_apart(str(tmp_path / "photos"), str(tmp_path / name / "labels"))
    shutil.copytree(root, tmp_path / "run=5" / "labels")
    check_apart(str(tmp_path / "photos"), str(tmp_path / "run=5" / "labels"))
    assert partition_above(open_store(str(tmp_path / "run=5" / "labels"))) == "run=5"
    assert partition_above(open_store(str(tmp_path / "rerun=5" / "labels"))) is None
