"""Audits of drawn face sets: which labels are listed, by which probabilities, and what the model had seen."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fer_core.errors import FaceSetError, StoreError
from fer_core.faceset import FaceSetCard, faceset_digest, read_card, read_rows, write_card, write_split
from fer_core.models.card import ModelRef
from fer_core.review.set_faces import face_key
from fer_core.training.audit_page import check_target, report_json, write_audit
from fer_core.training.label_audit import AuditRequest, LabelAudit, audit_labels, trained_splits
from tests.support import made_faces

CLASSES = ("neutral", "happiness", "surprise")
WRONG = {4: "surprise", 9: "happiness", 17: "neutral"}
"""Rows of `train` whose label is not what was drawn."""


def flipped(folder: Path) -> Path:
    rows = list(made_faces.rows(48, "train", "single", classes=CLASSES))
    for number, label in WRONG.items():
        assert rows[number]["label"] != label
        rows[number]["label"] = label
    counts = {"train": write_split(folder, "train", rows)}
    counts["test"] = write_split(folder, "test", made_faces.rows(12, "test", "single", classes=CLASSES))
    write_card(folder, FaceSetCard("made", "single", CLASSES, "drawn", counts, 0, 1.0, digests={"train": "a" * 64}))
    return folder


@pytest.fixture(scope="module")
def faceset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flipped(tmp_path_factory.mktemp("audit") / "set")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return made_faces.small_model(tmp_path_factory.mktemp("audit") / "model")


@pytest.fixture(scope="module")
def folded(faceset: Path, model: ModelRef) -> LabelAudit:
    return audit_labels(faceset, model, AuditRequest(folds=4))


def test_heads_that_did_not_see_a_face_find_its_wrong_label(folded: LabelAudit) -> None:
    assert {(face.split, face.row) for face in folded.found[:3]} == {("train", row) for row in WRONG}
    first = folded.found[0]
    assert first.given == WRONG[first.row]
    assert first.likely == CLASSES[first.row % 3]
    assert first.sample_id == f"train{first.row:05d}.png"
    assert first.self_confidence == pytest.approx(first.probabilities[("neutral", "happiness", "surprise").index(first.given)], abs=1e-4)
    assert first.margin < 0
    assert (folded.faces, folded.splits, folded.classes) == (60, ("train", "test"), CLASSES)
    assert folded.error_interval[0] <= folded.error_share <= folded.error_interval[1]
    assert sum(of_class.faces for of_class in folded.per_class.values()) == 60
    assert sum(of_class.candidates for of_class in folded.per_class.values()) == len(folded.found)


def test_the_same_seed_gives_the_same_audit_and_one_split_may_be_asked_for(faceset: Path, model: ModelRef, folded: LabelAudit) -> None:
    assert audit_labels(faceset, model, AuditRequest(folds=4)) == folded
    calls = list[tuple[str, int, int]]()
    own = audit_labels(faceset, model, AuditRequest(splits=("test",)), lambda *call: calls.append(call))
    assert (own.faces, own.splits, calls) == (12, ("test",), [("scored faces", 12, 12)])
    with pytest.raises(FaceSetError, match="no split 'valid'"):
        audit_labels(faceset, model, AuditRequest(splits=("valid",)))


def test_votes_are_audited_by_the_protocols_label(tmp_path: Path, model: ModelRef) -> None:
    rows: list[dict[str, Any]] = list(made_faces.rows(16, "valid", "votes"))
    rows[3] |= {f"votes_{name}": int(name in {"anger", "fear"}) * 5 for name in ("neutral", "anger", "fear", "sadness")}
    rows[3] |= {
        "votes_unknown": 0,
        "votes_not_a_face": 0,
        "votes_happiness": 0,
        "votes_surprise": 0,
        "votes_disgust": 0,
        "votes_contempt": 0,
    }
    write_card(
        tmp_path, FaceSetCard("made", "votes", made_faces.EXPRESSIONS, "drawn", {"valid": write_split(tmp_path, "valid", rows)}, 0, 1.0)
    )
    found = audit_labels(tmp_path, model, AuditRequest())
    assert (found.faces, found.without_label) == (15, 1)
    assert audit_labels(tmp_path, model, AuditRequest(protocol="argmax")).without_label == 0


def test_one_expression_alone_says_nothing(tmp_path: Path, model: ModelRef) -> None:
    made_faces.made_faceset(tmp_path / "one", {"train": 4}, "single", classes=("fear",))
    with pytest.raises(FaceSetError, match="at least two expressions"):
        audit_labels(tmp_path / "one", model, AuditRequest())


@pytest.mark.parametrize(
    ("card", "seen"),
    [
        ({}, ()),
        ({"sources": {"facesets": ["SET"]}}, ("train",)),
        ({"sources": {"facesets": ["other"], "prevailing": ["SET"]}}, ("train",)),
        ({"tuned": {"facesets": ["SET"], "on": []}}, ("train",)),
        ({"trained_on": [{"digests": {"train": "a" * 64}}]}, ("train",)),
        ({"tuned": {"on": [{"digests": {"train": "a" * 64}}]}}, ("train",)),
        ({"trained_on": [{"digests": {"train": "b" * 64}}, {"digests": {}}, "text"], "sources": {}}, ()),
    ],
)
def test_what_the_model_was_trained_on_is_read_off_its_card(faceset: Path, card: dict[str, Any], seen: tuple[str, ...]) -> None:
    digest = faceset_digest(faceset)
    named = json.loads(json.dumps(card).replace("SET", digest))
    assert trained_splits(read_card(faceset), digest, named) == seen


def test_files(faceset: Path, model: ModelRef, folded: LabelAudit, tmp_path: Path) -> None:
    report, to = report_json(folded, model, AuditRequest(folds=4), 3), tmp_path / "out"
    files = write_audit(faceset, folded, model, report, to)
    assert [Path(file).name for file in files] == ["review.html", "candidates.csv", "audit.json"]
    assert json.loads((to / "audit.json").read_text())["candidates"] == len(folded.found)
    with (to / "candidates.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [row["sample_id"] for row in table] == [face.sample_id for face in folded.found[:3]]
    page = (to / "review.html").read_text()
    rows = list(read_rows(faceset, "train"))
    for number in WRONG:
        assert face_key(rows[number])[0] in page
    assert '"command":"ferflow dataset correct"' in page
    before = {file.name: file.read_bytes() for file in to.iterdir()}
    write_audit(faceset, folded, model, report, to)
    assert {file.name: file.read_bytes() for file in to.iterdir()} == before
    none = replace(folded, found=())
    files = write_audit(faceset, none, model, report_json(none, model, AuditRequest(folds=4), 3), to)
    assert [Path(file).name for file in files] == ["candidates.csv", "audit.json"]
    assert not (to / "review.html").exists()
    (to / "else.txt").touch()
    with pytest.raises(StoreError, match="neither empty nor an earlier audit"):
        check_target(to)


def test_a_copy_is_asked_about_once(model: ModelRef, tmp_path: Path) -> None:
    rows = list(made_faces.rows(30, "train", "single", classes=CLASSES))
    rows[4] |= {"label": "surprise", "picture": "the same"}  # so that neither is learned from where the other is asked about
    rows.append({**rows[4], "sample_id": "copy.png", "group": "copy"})
    write_card(
        tmp_path / "set", FaceSetCard("made", "single", CLASSES, "drawn", {"train": write_split(tmp_path / "set", "train", rows)}, 0, 1.0)
    )
    found = audit_labels(tmp_path / "set", model, AuditRequest(folds=3))
    copies = [face for face in found.found if face.row in {4, 30}]
    assert len(copies) == 2
    write_audit(tmp_path / "set", found, model, report_json(found, model, AuditRequest(folds=3), 100), tmp_path / "out")
    _, _, embedded = (tmp_path / "out" / "review.html").read_text().partition('<script type="application/json"')
    assert embedded.count(face_key(rows[4])[0]) == 1
