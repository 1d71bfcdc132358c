"""What was written from a root elsewhere: found by image, rewritten or removed, and nothing that only a registry says."""

import json
import os
import shutil
import stat
from dataclasses import replace
from importlib.util import find_spec

import pyarrow.parquet as pq
import pytest

from fer_core.commit.deny_list import DenyList
from fer_core.commit.policy import Policy, write_policy
from fer_core.commit.verify import verify
from fer_core.erasure.audit import FOLDER
from fer_core.erasure.forget import forget
from fer_core.erasure.named import named_images
from fer_core.erasure.outputs import forget_outputs, held_outputs
from fer_core.erasure.request import Request
from fer_core.erasure.retention import remove_aged
from fer_core.export.current_file import export_current
from fer_core.export.delta import register
from fer_core.faceset import read_card, read_rows, read_split, write_card
from fer_core.gallery import draw_gallery
from fer_core.models.card import ModelRef
from fer_core.outputs.registry import RegisteredOutput, register_output, registered_outputs
from fer_core.review.corrected_set import correct_faceset
from fer_core.review.export import export_review
from fer_core.review.set_faces import face_key
from fer_core.storage.store import open_store
from fer_core.training.audit_page import report_json, write_audit
from fer_core.training.label_audit import AuditRequest, Candidate, LabelAudit
from fer_core.training.reviewed_faces import keep_reviewed_faces, read_reviewed_faces, write_reviewed_faces
from tests.support import fakes, reviews
from tests.support.remembered import Remembered
from tests.support.written import written

STATES = {
    "gallery.html": ("gallery", "removed", 2),
    "gallery.png": ("gallery", "removed", 2),
    "report.html": ("report", "removed", 1),
    "review": ("review", "removed", 1),
    "current/current.parquet": ("current", "rewritten", 4),
    "current.arrow": ("current", "rewritten", 4),
    "current.csv": ("current", "rewritten", 4),
    "faceset": ("faceset", "rewritten", 2),
    "models/reviewed": ("reviewed", "rewritten", 2),
    "models/tuned": ("model", "trained", 2),
}
"""By the path below the folder: kind, what becomes of it, and what it holds of the photograph and its copy."""

NO_AUDIT = LabelAudit("0" * 64, ("train",), (), 4, 0, 1.0, (1.0, 1.0), 0.0, (0.0, 0.0), (), (), (), {}, ())


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    return written(str(folder / "root"), folder)


@pytest.fixture
def made(template, tmp_path):
    return template.copied(tmp_path)


def by_place(made, found):
    return {os.path.relpath(one.url, made.out): (one.kind, one.state, one.rows) for one in found}


def test_every_output_that_holds_it_is_found_and_nothing_changes(made):
    before = made.files()
    named = named_images(made.root.store, [made.root.uri])
    found = by_place(made, held_outputs(made.root.store, DenyList.new().extended(named.uris, named.contents)))
    states = {"trained": "trained"}
    assert found == {place: (kind, states.get(state, "holds"), rows) for place, (kind, state, rows) in STATES.items()}
    assert list(held_outputs(made.root.store, DenyList.new().extended(["/nowhere.png"], ["0" * 64]))) == []
    assert made.files() == before


def test_it_is_removed_everywhere(made):
    forget(made.root.store, Request(uris=[made.root.uri]), "operator")
    found = forget_outputs(made.root.store, "operator", "request 17")
    assert by_place(made, found) == STATES
    assert made.traces(made.root.uri, made.root.copy, made.root.sha256) == []
    assert made.root.traces(made.root.uri, made.root.copy, made.root.sha256) == []
    left = {os.path.relpath(output.url, made.out) for _, output in registered_outputs(made.root.store)}
    assert left == {place for place, (_, state, _) in STATES.items() if state != "removed"}
    notes = {one.kind: one.note for one in found}
    assert notes["gallery"].startswith(f"write it again: ferflow gallery {made.root.store.url()} --to {made.out}/gallery.")
    assert f"ferflow retrain {made.out}/models --reviewed {made.root.store.url()} --start 'from random weights'" in notes["model"]
    again = forget_outputs(made.root.store, "operator")
    assert by_place(made, again) == {"models/tuned": ("model", "trained", 2)}  # weights keep what they learned


def test_what_is_rewritten_stays_whole(made):
    texts = (made.out / "current.csv").read_text().splitlines()
    rows = pq.read_table(made.out / "current" / "current.parquet")
    forget(made.root.store, Request(uris=[made.root.uri]), "operator")
    forget_outputs(made.root.store, "operator")
    left = pq.read_table(made.out / "current" / "current.parquet")
    keep = [uri not in {made.root.uri, made.root.copy} for uri in rows["image_uri"].to_pylist()]
    assert left.equals(rows.filter(keep))
    assert left.schema.metadata == rows.schema.metadata
    for name in ("current/current.parquet", "current.arrow", "current.csv"):
        assert stat.S_IMODE((made.out / name).stat().st_mode) & 0o077 == 0
    kept = [text for text, stays in zip(texts[1:], keep, strict=True) if stays]
    assert (made.out / "current.csv").read_text().splitlines() == [texts[0], *kept]
    for folder in (made.out / "faceset", made.out / "models" / "reviewed"):
        assert (read_card(folder).counts, len(read_split(folder, "train"))) == ({"train": 2}, 2)
        assert read_card(folder).purposes == ("tests",)
    assert read_reviewed_faces(made.out / "models" / "tuned").forgotten == 2


def test_of_a_face_tables_lose_its_rows_and_photographs_go(made):
    face = next(row for row in made.root.rows("labels") if row["image_uri"] == made.root.uri and row["face_index"] == 0)
    forget(made.root.store, Request(face_ids=[face["face_id"]]), "operator")
    found = by_place(made, forget_outputs(made.root.store, "operator"))
    halved = {kind: rows for kind, _, rows in found.values() if kind in {"current", "faceset", "model"}}
    assert halved == {"current": 2, "faceset": 1, "model": 1}
    assert {os.path.relpath(place, ".") for place in made.files()} & {"gallery.html", "gallery.png", "report.html"} == set()
    assert len(read_split(made.out / "faceset", "train")) == 3


def test_the_audit_record_names_no_image(made):
    forget(made.root.store, Request(uris=[made.root.uri]), "operator")
    forget_outputs(made.root.store, "operator@here", "request 17")
    [path] = [path for path in made.root.store.list_files(FOLDER) if "/outputs-" in path]
    kept = json.loads(made.root.store.read_bytes(path))
    assert (kept["by"], kept["reason"], kept["rows"]["gallery"], kept["rows"]["current"]) == ("operator@here", "request 17", 4, 12)


def test_a_set_without_any_face_left_is_removed(made):
    forget(made.root.store, Request(uris=[str(made.root.photos / f"image-00{n}.png") for n in range(4)]), "operator")
    found = by_place(made, forget_outputs(made.root.store, "operator"))
    assert found["faceset"] == ("faceset", "rewritten", 4)
    assert not (made.out / "faceset" / "faceset.json").exists()
    assert pq.read_table(made.out / "current" / "current.parquet").num_rows == 0
    assert len((made.out / "current.csv").read_text().splitlines()) == 1


def test_what_is_gone_or_not_reachable_is_said(made, tmp_path):
    (made.out / "gallery.html").unlink()
    register_output(made.root.store, str(tmp_path / "unmounted" / "g.html"), "gallery")
    [path] = [path for path, output in registered_outputs(made.root.store) if output.url.endswith("report.html")]
    made.root.store.write_bytes(path, b"{")
    forget(made.root.store, Request(uris=[made.root.uri]), "operator")
    found = {one.url: (one.state, one.note) for one in held_outputs(made.root.store, DenyList.new())}
    assert found.pop(str(made.out / "gallery.html")) == ("absent", "it does not exist any more")
    assert found.pop(str(tmp_path / "unmounted" / "g.html")) == ("unreachable", "its folder is not there")
    assert found.pop(made.root.store.url(path)) == ("foreign", "this entry of the registry cannot be read")
    forget_outputs(made.root.store, "operator")
    left = {output and output.url for _, output in registered_outputs(made.root.store)}
    assert str(made.out / "gallery.html") not in left
    assert {None, str(tmp_path / "unmounted" / "g.html")} <= left


@pytest.mark.parametrize("any_root", ["local", "memory", "s3", pytest.param("swift", marks=pytest.mark.long)], indirect=True)
def test_nothing_is_left_of_it_anywhere_on_any_storage(any_root, tmp_path):
    """Three runs, crops, reviews, staging, Delta tables, and one output of each kind, two of them in the same store as the root."""
    made = written(any_root, tmp_path)
    store, elsewhere = made.root.store, open_store(f"{any_root}-elsewhere/review")
    export_current(store, open_store(f"{any_root}-elsewhere/current"))
    export_review(store, elsewhere)
    if find_spec("deltalake") is not None and not any_root.startswith("memory:"):
        for table in ("labels", "images"):
            register(store, table)
    record = forget(store, Request(uris=[made.root.uri]), "operator")
    states = {one.state for one in forget_outputs(store, "operator")}
    names = [text for path in (made.root.uri, made.root.copy) for text in (path, path.rpartition("/")[2])]
    assert states == {"removed", "rewritten", "trained"}
    assert made.root.traces(made.root.sha256, *names) == []
    assert made.traces(made.root.sha256, *names) == []
    assert elsewhere.list_files() == []
    assert Remembered(open_store(f"{any_root}-elsewhere"), made.root.photos).traces(made.root.sha256, *names) == []
    assert all(state.startswith("version") for state in record.delta.values())
    assert verify(store).problems == ()


def test_another_machine_searches_nothing_and_drops_no_entry(made):
    """The path may exist here too, as `/tmp` does; the page is on the disk of the machine that wrote it."""
    (made.out / "gallery.html").unlink()
    [(path, output)] = [one for one in registered_outputs(made.root.store) if one[1].url.endswith("gallery.html")]
    made.root.store.write_bytes(path, replace(output, host="laptop").to_bytes())
    forget(made.root.store, Request(uris=[made.root.uri]), "operator")
    found = {one.url: (one.state, one.note) for one in forget_outputs(made.root.store, "operator")}
    assert found[output.url] == ("unreachable", "laptop wrote it, and it is not on this machine")
    assert path in [path for path, _ in registered_outputs(made.root.store)]


def test_what_was_removed_for_its_age_is_forgotten_elsewhere_too(made):
    """No table has the digest any more by which pages and face sets name the photograph."""
    write_policy(made.root.store, Policy(keep_labels_days=1))
    remove_aged(made.root.store, "operator")
    assert made.root.traces(made.root.uri) == []
    forget(made.root.store, Request(uris=[made.root.uri, made.root.copy]), "operator")
    assert by_place(made, forget_outputs(made.root.store, "operator")) == STATES
    assert made.traces(made.root.uri, made.root.copy, made.root.sha256) == []


def test_what_is_made_from_a_reviewed_set_is_found(made):
    """A corrected copy, and an audit, whose page shows the faces."""
    old, store = made.out / "faceset", made.root.store
    write_card(old, replace(read_card(old), origin=store.url()))
    rows = list(read_rows(old, "train"))
    digest, box = next(face_key(row) for row in rows if row["sample_id"].startswith(made.root.sha256))
    answer = {"image_sha256": digest, "box": list(box), "verdict": "fear", "previous_expression": "happiness"}
    answer |= {"image_uri": made.root.uri, "previous_model": "c" * 64, "reviewed_at": "2026-02-01T10:00:00.000Z"}
    correct_faceset(old, reviews.written(made.out.parent / "c.json", reviews.corrections([answer])), made.out / "corrected")
    found = [Candidate("train", at, row["sample_id"], "happiness", "fear", "fear", 0.1, -0.8, (0.1,) * 8) for at, row in enumerate(rows)]
    audit = replace(NO_AUDIT, found=tuple(found))
    model, asked = ModelRef(made.out, "m", "0" * 64, {}), AuditRequest()
    write_audit(old, audit, model, report_json(audit, model, asked, 10), made.out / "audit")
    forget(store, Request(uris=[made.root.uri]), "operator")
    states = by_place(made, forget_outputs(store, "operator"))
    assert states["corrected"] == ("faceset", "rewritten", 2)
    assert states["audit"][:2] == ("audit", "removed")
    assert made.traces(made.root.uri, made.root.sha256) == []
    assert list((made.out / "audit").iterdir()) == []


def test_it_is_removed_behind_a_link_that_it_was_written_through(made):
    shared = made.out.parent / "shared"
    (shared / "review").mkdir(parents=True)
    (made.out / "shared.html").symlink_to(shared / "page.html")
    (made.out / "linked").symlink_to(shared / "review")
    draw_gallery(made.root.store.url(), made.out / "shared.html", None, 24, "third")
    export_review(made.root.store, open_store(str(made.out / "linked")))
    assert made.root.sha256 in (shared / "page.html").read_text()
    forget(made.root.store, Request(uris=[made.root.uri]), "operator")
    forget_outputs(made.root.store, "operator")
    assert not (shared / "page.html").exists()
    assert list((shared / "review").iterdir()) == []


@pytest.mark.parametrize("figures", ["[]", '{"shown": [{"sample_id": 3}]}', '{"shown": 3}', "x"])
def test_figures_that_no_audit_wrote_stay(made, figures):
    (made.out / "notes").mkdir()
    (made.out / "notes" / "audit.json").write_text(figures)
    register_output(made.root.store, str(made.out / "notes"), "audit")
    forget(made.root.store, Request(uris=[made.root.uri]), "operator")
    assert by_place(made, forget_outputs(made.root.store, "operator"))["notes"] == ("audit", "foreign", 0)
    assert (made.out / "notes" / "audit.json").read_text() == figures


@pytest.fixture
def hostile(made, tmp_path):
    """A registry that names what ferflow did not write there, with the names and digests of the forgotten photograph in it."""
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    shutil.copytree(made.out, theirs)
    (mine / "folder").mkdir(parents=True)
    text = f"{made.root.uri} {made.root.sha256}"
    for name in ("notes.html", "notes.csv", "current.parquet", "folder/review.html", "folder/tasks.json", "folder/faceset.json"):
        (mine / name).write_text(text)
    os.link(made.root.photos / "image-001.png", mine / "photo.png")
    (mine / "gallery.html").symlink_to(theirs / "gallery.html")
    (mine / "linked").symlink_to(theirs / "faceset")
    os.mkfifo(mine / "pipe")
    part = next(path for path in made.root.store.list_files("labels") if path.endswith(".parquet"))
    places = {"notes.html": "gallery", "photo.png": "gallery", "gallery.html": "gallery", "pipe": "gallery", "folder": "review"}
    places |= {"notes.csv": "current", "current.parquet": "current", "linked": "faceset"}
    everything = {str(mine / name): kind for name, kind in places.items()}
    everything |= {made.root.store.url(part): "current", "/proc/self/environ": "report", "/": "review", str(mine): "faceset"}
    everything |= {made.root.store.url(): "review"}
    for url, kind in everything.items():  # as another process may write them: `register_output` follows links
        entry = RegisteredOutput(url, kind, (), "2026-11-24T10:00:00+00:00")
        made.root.store.write_bytes(entry.path, entry.to_bytes())
    return mine


def test_a_hostile_registry_removes_nothing(made, hostile):
    before, photographs = fakes.tree(hostile), fakes.tree(made.root.photos)
    forget(made.root.store, Request(uris=[made.root.uri]), "operator")
    labels = {path: made.root.store.read_bytes(path) for path in made.root.store.list_files("labels")}
    found = forget_outputs(made.root.store, "operator")
    assert fakes.tree(hostile) == before
    assert fakes.tree(made.root.photos) == photographs
    assert {path: made.root.store.read_bytes(path) for path in made.root.store.list_files("labels")} == labels
    named = {os.path.relpath(one.url, hostile): one.state for one in found if one.url.startswith(str(hostile))}
    assert set(named.values()) <= {"foreign", "absent"}
    assert named["gallery.html"] == named["pipe"] == named["photo.png"] == "foreign"


def test_a_folder_that_gained_other_files_keeps_them(made):
    (made.out / "review" / "mine.txt").write_text("mine")
    forget(made.root.store, Request(uris=[made.root.uri]), "operator")
    forget_outputs(made.root.store, "operator")
    assert [file.name for file in (made.out / "review").iterdir()] == ["mine.txt"]


def test_cut_off_anywhere_and_repeated_it_ends_in_the_same_place(made):
    forget(made.root.store, Request(uris=[made.root.uri]), "operator")
    for change in range(1, 30):
        try:
            forget_outputs(fakes.FaultyStore(made.root.store, change, "after"), "operator")
        except fakes.CutOffError:
            continue
        break
    assert made.traces(made.root.uri, made.root.copy, made.root.sha256) == []


def test_an_export_that_was_interrupted_is_searched_by_its_tasks(made):
    (made.out / "review" / "review.html").unlink()
    forget(made.root.store, Request(uris=[made.root.uri]), "operator")
    assert by_place(made, forget_outputs(made.root.store, "operator"))["review"][:2] == ("review", "removed")
    assert list((made.out / "review").iterdir()) == []


def test_outputs_in_an_object_store(made, s3_root):
    place = open_store(f"{s3_root}-out/current")
    place.write_bytes("current.parquet", (made.out / "current" / "current.parquet").read_bytes())
    register_output(made.root.store, place.url("current.parquet"), "current")
    register_output(made.root.store, place.url("gone.parquet"), "current")
    forget(made.root.store, Request(uris=[made.root.uri]), "operator")
    found = {one.url: (one.state, one.rows) for one in forget_outputs(made.root.store, "operator")}
    assert found[place.url("current.parquet")] == ("rewritten", 4)
    assert found[place.url("gone.parquet")] == ("absent", 0)


def test_a_model_that_starts_from_it_is_named_too(made):
    tuned = made.out / "models" / "tuned"
    write_reviewed_faces(tuned, replace(read_reviewed_faces(tuned), roots=(made.root.store.url(),)))
    keep_reviewed_faces(made.out / "models" / "next", [], [ModelRef(tuned, "tuned", "0" * 64, {})])
    forget(made.root.store, Request(uris=[made.root.uri]), "operator")
    assert by_place(made, forget_outputs(made.root.store, "operator"))["models/next"] == ("model", "trained", 2)
    assert read_reviewed_faces(made.out / "models" / "next").forgotten == 2
    assert list(held_outputs(made.root.store, DenyList.new().extended(["/another.png"]))) == []
