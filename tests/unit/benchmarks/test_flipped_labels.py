"""How flipped labels are drawn, written and counted."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy.flipped_labels import chances_of, flip, labelled, measured, write_flipped
from fer_core.faceset import read_rows
from fer_core.labels import EXPRESSIONS
from fer_core.training.label_audit import AuditRequest, audit_labels
from tests.support.made_faces import made_faceset, small_model


def test_a_share_of_the_labels_is_flipped_and_found_again(tmp_path: Path) -> None:
    folder, model = (
        made_faceset(tmp_path / "set", {"valid": 48}, "single", classes=("neutral", "happiness", "surprise")),
        small_model(tmp_path / "model"),
    )
    faces = labelled(folder, ("valid",))
    classes = np.array([number for _, _, number in faces])
    for kind in ("uniform", "likely"):
        chances = chances_of(kind, model, folder, faces)
        assert not np.diag(chances).any()
        after, flipped = flip(classes, 4, 3, chances)
        assert (after != classes).tolist() == flipped.tolist()
        assert flipped.sum() == 4
        assert flip(classes, 4, 3, chances)[0].tolist() == after.tolist()
    write_flipped(folder, tmp_path / "flipped", faces, after)
    assert [row["label"] for row in read_rows(tmp_path / "flipped", "valid")] == [EXPRESSIONS[number] for number in after]
    found = audit_labels(tmp_path / "flipped", model, AuditRequest(folds=4))
    precision, recall = measured(found, flipped, faces)
    assert recall[1] == pytest.approx(precision[1])
    assert recall[2] >= recall[1] >= 0.5
