"""Reviews come in: kept once, whole or not at all, in every kind of storage, and laid beside today's labels."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fer_core.errors import CommitError, ReviewError
from fer_core.review.history import FOLDER, delete_reviews, history
from fer_core.review.incoming import import_reviews
from fer_core.review.record import REVIEWS
from fer_core.review.reviewed import count_by_verdict, reviewed_faces
from fer_core.storage.store import open_store
from tests.support import fakes, histories, reviews

REPOSITORY = Path(__file__).resolve().parents[4]


@pytest.fixture
def root(tmp_path):
    """Four photographs of two faces."""
    reviews.night(tmp_path / "root", reviews.photographs(tmp_path / "photos", 4, faces=2))
    return tmp_path / "root"


def store_of(root):
    return open_store(str(root))


def save(tmp_path, entries, name="corrections.json", **head):
    return reviews.written(tmp_path / name, reviews.corrections(entries, **head))


def test_reviews_are_kept_as_the_schema_says(root, tmp_path):
    rows = reviews.labels_of(root)
    file = save(tmp_path, [reviews.correction(rows[0], "fear"), reviews.correction(rows[3], rows[3]["expression"])])
    found = import_reviews(store_of(root), file)
    assert (found.reviews, found.new, found.attached, found.orphans, found.already_imported) == (2, 2, 2, (), False)
    assert found.changed == (rows[0]["expression"] != "fear")
    (kept,) = (root / FOLDER).iterdir()
    table = pq.ParquetFile(kept).read()
    assert table.schema.remove_metadata().equals(REVIEWS.remove_metadata())
    assert [pq.ParquetFile(kept).schema_arrow.field(name).metadata[b"PARQUET:field_id"] for name in REVIEWS.names] == [
        str(number).encode() for number in range(1, len(REVIEWS) + 1)
    ]
    first = table.to_pylist()[0]
    assert (first["verdict"], first["reviewer"], first["previous_model"]) == ("fear", "Anna", "a" * 64)
    assert [first[f"box_{name}"] for name in "xywh"] == [rows[0][f"box_{name}"] for name in "xywh"]


def test_the_document_names_every_column():
    text = (REPOSITORY / "docs" / "guides" / "review.md").read_text("utf-8")
    for field in REVIEWS:
        assert f"| `{field.name}` | {'float32' if str(field.type) == 'float' else field.type} |" in text
        assert field.metadata[b"description"].decode() in text


def test_the_same_file_twice_changes_nothing(root, tmp_path):
    file = save(tmp_path, [reviews.correction(row, "fear") for row in reviews.labels_of(root)])
    import_reviews(store_of(root), file)
    before = fakes.tree(root)
    found = import_reviews(store_of(root), file, "Bert")
    assert (found.already_imported, found.new, found.attached) == (True, 0, 8)
    assert fakes.tree(root) == before


def test_a_file_saved_again_with_more_adds_only_the_rest(root, tmp_path):
    entries = [reviews.correction(row, "fear") for row in reviews.labels_of(root)]
    import_reviews(store_of(root), save(tmp_path, entries[:3]))
    found = import_reviews(store_of(root), save(tmp_path, entries[:5], "again.json"))
    assert (found.reviews, found.new) == (5, 2)
    assert history(store_of(root)).num_rows == 5
    before = fakes.tree(root)
    assert import_reviews(store_of(root), save(tmp_path, entries[1:4], "part.json")).new == 0
    assert fakes.tree(root) == before


def test_history_is_kept_and_the_last_word_stands(root, tmp_path):
    row = reviews.labels_of(root)[0]
    for day, verdict in ((2, "anger"), (3, "unsure"), (1, "fear")):
        entry = reviews.correction(row, verdict, f"2026-02-0{day}T10:00:00Z")
        import_reviews(store_of(root), save(tmp_path, [entry], f"{day}.json"))
    assert history(store_of(root))["verdict"].to_pylist() == ["fear", "anger", "unsure"]
    faces = reviewed_faces(store_of(root))
    assert (faces.verdicts, count_by_verdict(faces), faces.reviewers) == (("unsure",), {"unsure": 1}, ("Anna",))


@pytest.mark.parametrize("which", [0, 7])
def test_one_bad_entry_and_nothing_is_written(root, tmp_path, which):
    entries = [reviews.correction(row, "fear") for row in reviews.labels_of(root)]
    entries[which]["verdict"] = "joy"
    before = fakes.tree(root)
    with pytest.raises(ReviewError, match=f"correction {which + 1} of corrections.json: 'joy' is no verdict"):
        import_reviews(store_of(root), save(tmp_path, entries))
    assert fakes.tree(root) == before


def test_a_file_about_other_labels_is_refused(root, tmp_path):
    strangers = [
        {**reviews.correction(row, "fear"), "image_sha256": f"{number:064x}"} for number, row in enumerate(reviews.labels_of(root))
    ]
    before = fakes.tree(root)
    with pytest.raises(ReviewError, match="is about none of the images under"):
        import_reviews(store_of(root), save(tmp_path, strangers))
    assert fakes.tree(root) == before
    with pytest.raises(CommitError, match="no run has been committed"):
        import_reviews(store_of(tmp_path / "empty"), save(tmp_path, strangers))
    with pytest.raises(ReviewError, match="cannot read"):
        import_reviews(store_of(root), tmp_path / "nothing.json")


def test_a_face_is_found_again_after_the_detector_changed(root, tmp_path):
    rows = reviews.labels_of(root)
    import_reviews(store_of(root), save(tmp_path, [reviews.correction(row, "fear") for row in rows]))
    reviews.night(root, tmp_path / "photos", 1, shift=12)
    faces = reviewed_faces(store_of(root))
    assert len(faces.orphans) == 0
    labels = faces.labels.to_pylist()
    assert {row["detector"] for row in labels} == {"drawn-12"}
    for number in range(len(faces)):
        assert labels[faces.attached[number]]["image_sha256"] == faces.image_sha256[number]
        assert labels[faces.attached[number]]["box_x"] == faces.boxes[number, 0] + 12


def test_a_face_that_is_elsewhere_or_whose_picture_changed_is_an_orphan(root, tmp_path):
    rows = reviews.labels_of(root)
    file = save(tmp_path, [reviews.correction(row, "fear") for row in rows])
    reviews.photographs(tmp_path / "photos", 1, faces=1)
    reviews.night(root, tmp_path / "photos", 1, shift=90)
    found = import_reviews(store_of(root), file)
    assert (found.reviews, found.new, found.attached) == (8, 8, 0)
    reasons = {(Path(row.image_uri).name, row.reason) for row in found.orphans}
    assert ("photo-000.png", "the image has changed or has no labels any more") in reasons
    assert ("photo-001.png", "no face is detected there any more") in reasons
    assert len(reviewed_faces(store_of(root)).orphans) == 8


def test_copies_of_a_picture_are_one_face(tmp_path):
    folder = reviews.photographs(tmp_path / "photos", 2)
    (folder / "zz-copy.png").write_bytes((folder / "photo-000.png").read_bytes())
    reviews.night(tmp_path / "root", folder)
    rows = reviews.labels_of(tmp_path / "root")
    assert len(rows) == 3
    found = import_reviews(store_of(tmp_path / "root"), save(tmp_path, [reviews.correction(rows[2], "fear")]))
    assert (found.attached, found.orphans) == (1, ())
    faces = reviewed_faces(store_of(tmp_path / "root"))
    assert faces.labels["image_uri"].to_pylist() == [str(folder / "photo-000.png")]


def test_reviews_in_every_kind_of_storage(any_root, tmp_path):
    histories.commit(any_root, histories.Night("a", 0, {"/x": histories.labeled(2)}))
    entries = [reviews.correction(row, "fear") for row in reviews.labels_of(any_root)]
    file = save(tmp_path, entries)
    assert import_reviews(open_store(any_root), file).new == 2
    assert import_reviews(open_store(any_root), file).already_imported
    faces = reviewed_faces(open_store(any_root))
    assert faces.verdicts == ("fear", "fear")
    assert sorted(faces.attached.tolist()) == [0, 1]


def test_what_is_forgotten_does_not_come_back_with_the_same_file(root, tmp_path):
    rows = reviews.labels_of(root)
    file = save(tmp_path, [reviews.correction(row, "fear") for row in rows])
    import_reviews(store_of(root), file)
    assert delete_reviews(store_of(root), [rows[0]["image_sha256"]], [rows[2]["image_uri"]]) == 4
    rest = {rows[4]["image_sha256"], rows[6]["image_sha256"]}
    assert set(history(store_of(root))["image_sha256"].to_pylist()) == rest
    assert import_reviews(store_of(root), file).already_imported
    assert history(store_of(root)).num_rows == 4
    assert delete_reviews(store_of(root), rest) == 4
    assert (delete_reviews(store_of(root), rest), history(store_of(root)).num_rows) == (0, 0)


def test_damaged_reviews_are_told(root):
    (root / FOLDER).mkdir(parents=True)
    (root / FOLDER / "x.parquet").write_bytes(b"no")
    with pytest.raises(ReviewError, match=r"the reviews in _meta/reviews/x\.parquet are damaged"):
        reviewed_faces(store_of(root))


def test_without_reviews_there_are_none(tmp_path, root):
    assert len(reviewed_faces(store_of(root))) == 0
    assert len(reviewed_faces(store_of(tmp_path / "empty"))) == 0
    assert reviewed_faces(store_of(root)).boxes.shape == (0, 4)
    assert reviewed_faces(store_of(root)).attached.dtype == np.intp


def test_what_label_studio_exports_comes_in(root, tmp_path):
    row = reviews.labels_of(root)[2]
    entry = reviews.correction(row, "fear")
    data = {name: entry[name] for name in ("image_sha256", "image_uri", "box", "previous_expression", "previous_model")}
    result = {"from_name": "expression", "to_name": "face", "type": "choices", "value": {"choices": ["fear"]}}
    annotation = {"completed_by": 1, "result": [result], "created_at": "2026-02-01T10:00:00.1Z", "was_cancelled": False}
    task = {"id": 9, "data": {**data, "image": "data:,", "export_id": "1" * 16}, "annotations": [annotation]}
    file = tmp_path / "ls.json"
    file.write_text(json.dumps([task]))
    found = import_reviews(store_of(root), file, "Cleo")
    assert (found.new, found.attached) == (1, 1)
    assert reviewed_faces(store_of(root)).reviewers == ("Cleo",)
