"""A face set with a reviewer's corrections."""

from pathlib import Path
from typing import Any

import pytest

from fer_core.errors import FaceSetError, ReviewError
from fer_core.faceset import VOTE_COLUMNS, FaceSetCard, faceset_digest, read_card, read_rows, read_split, write_card, write_split
from fer_core.review.corrected_set import correct_faceset
from fer_core.review.face_set import Shares, import_reviewed
from fer_core.review.incoming import import_reviews
from fer_core.review.reviewed import reviewed_faces
from fer_core.review.set_faces import face_key, shown_face
from fer_core.storage.store import open_store
from tests.support import made_faces, reviews


def answered(row: dict[str, Any], verdict: str) -> dict[str, Any]:
    """What the page saves of a face."""
    given = row["label"] or "neutral"
    face = shown_face(row, given, (0.125,) * 8, ("model", "c" * 64), "a reason")
    return {
        "image_sha256": face.image_sha256,
        "image_uri": face.image_uri,
        "box": list(face.box),
        "verdict": verdict,
        "previous_expression": face.expression,
        "previous_model": face.model_digest,
        "reviewed_at": "2026-02-01T10:00:00.000Z",
    }


def saved(tmp_path: Path, *answers: dict[str, Any]) -> Path:
    return reviews.written(tmp_path / "corrections.json", reviews.corrections(list(answers)))


def test_each_answer_has_its_effect_and_the_old_set_stays(tmp_path: Path) -> None:
    old = made_faces.made_faceset(tmp_path / "old", {"train": 10, "test": 4}, "single")
    rows, digest = list(read_rows(old, "train")), faceset_digest(old)
    file = saved(
        tmp_path,
        answered(rows[0], "fear"),
        answered(rows[1], rows[1]["label"]),
        answered(rows[2], "not_a_face"),
        answered(rows[3], "unsure"),
        answered({**rows[4], "crop": b"other"}, "fear"),
    )
    found = correct_faceset(old, file, tmp_path / "new")
    assert (found.changed, found.confirmed, found.removed, found.undecided, found.absent) == (1, 1, 1, 1, 1)
    assert faceset_digest(old) == digest
    assert faceset_digest(tmp_path / "new") != digest
    assert read_card(tmp_path / "new").counts == {"train": 9, "test": 4}
    after = list(read_rows(tmp_path / "new", "train"))
    assert after == [{**rows[0], "label": "fear"}, rows[1], *rows[3:]]
    assert list(read_rows(tmp_path / "new", "test")) == list(read_rows(old, "test"))


def test_a_set_without_faces_is_not_written(tmp_path: Path) -> None:
    old = made_faces.made_faceset(tmp_path / "old", {"train": 2}, "single")
    file = saved(tmp_path, *(answered(row, "not_a_face") for row in read_rows(old, "train")))
    with pytest.raises(FaceSetError, match=r"no face of .* would be left"):
        correct_faceset(old, file, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_votes_become_unanimous(tmp_path: Path) -> None:
    old = made_faces.made_faceset(tmp_path / "old", {"valid": 3})
    rows = list(read_rows(old, "valid"))
    correct_faceset(old, saved(tmp_path, answered(rows[2], "contempt")), tmp_path / "new")
    votes = read_split(tmp_path / "new", "valid").votes
    assert votes[2].tolist() == [10.0 * (name == "votes_contempt") for name in VOTE_COLUMNS]
    assert votes[:2].tolist() == read_split(old, "valid").votes[:2].tolist()


def test_an_expression_that_the_set_did_not_have_becomes_one_of_its_classes(tmp_path: Path) -> None:
    old = made_faces.made_faceset(tmp_path / "old", {"train": 4}, "single", classes=("neutral", "anger"))
    row = next(read_rows(old, "train"))
    assert correct_faceset(old, saved(tmp_path, answered(row, "fear")), tmp_path / "new").card.classes == ("neutral", "anger", "fear")


def test_a_reviewed_face_is_named_as_the_labels_root_names_it() -> None:
    row = {"source": "reviewed", "sample_id": f"{'d' * 64}/57,44.5,126,1e+02", "crop": b"png"}
    assert face_key(row) == ("d" * 64, (57.0, 44.5, 126.0, 100.0))
    assert face_key({**row, "source": "made"})[1] == (0, 0, 112, 112)


def test_answers_about_a_reviewed_set_are_reviews_of_its_root_too(tmp_path: Path) -> None:
    reviews.night(tmp_path / "root", reviews.photographs(tmp_path / "photos", 3, 2))
    store, labels = open_store(str(tmp_path / "root")), reviews.labels_of(tmp_path / "root")
    first = [reviews.correction(row, "fear", "2026-01-20T10:00:00.000Z") for row in labels]
    import_reviews(store, saved(tmp_path, *first))
    import_reviewed(store, tmp_path / "set", Shares(0, 0))
    rows = list(read_rows(tmp_path / "set", "train"))
    file = saved(tmp_path, *(answered(row, "anger") for row in rows))
    found = import_reviews(store, file)
    assert (found.new, found.attached, found.orphans) == (6, 6, ())
    assert set(reviewed_faces(store).verdicts) == {"anger"}
    assert correct_faceset(tmp_path / "set", file, tmp_path / "new").changed == 6


def test_what_cannot_be_corrected(tmp_path: Path) -> None:
    old = made_faces.made_faceset(tmp_path / "old", {"train": 2}, "single")
    row = next(read_rows(old, "train"))
    file = saved(tmp_path, answered({**row, "crop": b"other"}, "fear"))
    with pytest.raises(ReviewError, match="is about none of the faces of"):
        correct_faceset(old, file, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(FaceSetError, match="the corrected set is a new one"):
        correct_faceset(old, file, old)
    with pytest.raises(ReviewError, match="cannot read "):
        correct_faceset(old, tmp_path / "none.json", tmp_path / "new")
    raw = tmp_path / "raw"
    write_card(raw, FaceSetCard("made", "single", ("fear",), "", {"train": write_split(raw, "train", [row])}, 0, 0.0, raw=True))
    with pytest.raises(FaceSetError, match="raw"):
        correct_faceset(raw, file, tmp_path / "new")
