import csv
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fer_core.errors import FaceSetError, UsageError
from fer_core.evaluation.evaluate import argmax_classes, choose, evaluate, majority_classes, report_json, score
from fer_core.faceset import read_split
from fer_core.labels import EXPRESSIONS
from fer_core.models.calibration import expected_calibration_error, softmax
from fer_core.predict.predictor import load_predictor
from tests.support.made_faces import made_faceset, small_model

SHARED = Path(os.environ.get("FERFLOW_SHARED", Path(__file__).resolve().parents[5] / "shared"))
few = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 5, 10]).map(float)
votes_of_ten = st.integers(0, 20).flatmap(lambda n: arrays(np.float32, (n, 10), elements=few))


def naive_majority(votes: list[float]) -> int | None:
    """The protocol's text, word for word."""
    left = [0 if vote <= 1 else vote for vote in votes]
    largest = max(left)
    if not largest > sum(left) / 2:
        return None
    winner = left.index(largest)
    return winner if winner < 8 else None


def naive_argmax(votes: list[float]) -> int | None:
    best = None
    for index in range(8):
        if votes[index] > 0 and (best is None or votes[index] > votes[best]):
            best = index
    return best


@settings(deadline=None, max_examples=200)
@given(votes_of_ten)
def test_protocols_against_their_text(votes: np.ndarray) -> None:
    for ours, naive in ((majority_classes(votes, "votes"), naive_majority), (argmax_classes(votes), naive_argmax)):
        expected = [(i, said) for i, row in enumerate(votes.tolist()) if (said := naive(row)) is not None]
        classes, kept = ours
        assert list(zip(kept.tolist(), classes.tolist(), strict=True)) == expected
        assert classes.dtype == np.int64


def row(**votes: int) -> np.ndarray:
    out = np.zeros((1, 10), np.float32)
    for name, count in votes.items():
        out[0, {"unknown": 8, "nf": 9}.get(name) or EXPRESSIONS.index(name)] = count
    return out


@pytest.mark.parametrize(
    ("votes", "majority", "argmax"),
    [
        ({"anger": 5, "fear": 5}, None, "anger"),  # exactly half is not over half; ties to the first class
        ({"fear": 5, "disgust": 4, "sadness": 1}, "fear", "fear"),  # 5 of the 9 that remain
        ({"unknown": 6, "happiness": 4}, None, "happiness"),
        ({"nf": 10}, None, None),
        ({"contempt": 1}, None, "contempt"),
        ({"surprise": 2, "neutral": 1, "anger": 1, "fear": 1}, "surprise", "surprise"),
        ({}, None, None),
    ],
)
def test_protocols_by_hand(votes: dict[str, int], majority: str | None, argmax: str | None) -> None:
    for (classes, _), expected in ((majority_classes(row(**votes), "votes"), majority), (argmax_classes(row(**votes)), argmax)):
        assert [EXPRESSIONS[c] for c in classes] == ([] if expected is None else [expected])


def test_single_labels_accept_both_protocols() -> None:
    votes = np.eye(10, dtype=np.float32)[[3, 0, 7]]
    for classes, kept in (majority_classes(votes, "single"), argmax_classes(votes)):
        assert classes.tolist() == [3, 0, 7]
        assert kept.tolist() == [0, 1, 2]


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared development data are not here")
def test_ferplus_keeps_what_the_field_keeps() -> None:
    votes: dict[str, list[list[float]]] = {}
    with (SHARED / "data" / "ferplus" / "fer2013new.csv").open(newline="") as stream:
        for line in list(csv.reader(stream))[1:]:
            if line[1]:
                votes.setdefault(line[0], []).append([float(count) for count in line[2:]])
    kept = {usage: len(majority_classes(np.array(table, np.float32), "votes")[1]) for usage, table in votes.items()}
    assert kept["Training"] == 25_060
    assert kept["PublicTest"] == 3_199
    kept = {usage: len(argmax_classes(np.array(table, np.float32))[1]) for usage, table in votes.items()}
    assert kept["Training"] == 28_559  # the table names three training pictures twice; the field counts rows
    assert kept["PublicTest"] == 3_579


def probabilities(said: list[int], count: int = 8, sure: float = 0.6) -> np.ndarray:
    out = np.full((len(said), count), (1 - sure) / (count - 1))
    out[np.arange(len(said)), said] = sure
    return out


def test_figures_of_a_confusion_made_by_hand() -> None:
    truth, said = [0, 0, 0, 1, 1, 4], [0, 0, 1, 1, 0, 4]
    result = score(probabilities(said), np.array(truth), EXPRESSIONS, absent=3)
    assert result.n == 6
    assert result.accuracy == pytest.approx(4 / 6)
    assert result.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)  # over the three classes that occur
    assert result.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert result.ece == pytest.approx(abs(4 / 6 - 0.6))
    assert result.confusion[0][:2] == (2, 1)
    assert result.confusion[1][:2] == (1, 1)
    assert result.confusion[4][4] == 1
    assert sum(map(sum, result.confusion)) == 6
    assert result.per_class["neutral"] == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3})
    assert result.per_class["fear"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert result.absent_ids == 3


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(0, 999))
def test_figures_against_loops(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, truth = softmax(rng.normal(0, 2, (count, 8))), rng.integers(0, 8, count)
    result = score(p, truth, EXPRESSIONS)
    said = p.argmax(1)
    recalls, f1s = [], []
    for k in sorted(set(truth.tolist())):
        hits = sum((said == k) & (truth == k))
        recalls.append(hits / sum(truth == k))
        precision = hits / sum(said == k) if sum(said == k) else 0
        f1s.append(2 * precision * recalls[-1] / (precision + recalls[-1]) if hits else 0)
    assert result.accuracy == pytest.approx((said == truth).mean())
    assert result.balanced_accuracy == pytest.approx(np.mean(recalls))
    assert result.macro_f1 == pytest.approx(np.mean(f1s))
    assert result.ece == pytest.approx(expected_calibration_error(p, truth))


def test_a_class_that_the_set_lacks_is_masked_out() -> None:
    seven = tuple(name for name in EXPRESSIONS if name != "surprise")  # not the last: the columns behind it move up
    p = np.array([[0.1, 0.0, 0.6, 0.3, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.2, 0.3]])
    result = score(p, np.array([3, 7]), seven)
    assert result.accuracy == 1
    assert result.classes == seven
    assert len(result.confusion) == 7
    assert result.confusion[2][2] == 1  # sadness
    assert result.confusion[6][6] == 1  # contempt
    assert result.ece == pytest.approx((abs(0.75 - 1) + abs(0.6 - 1)) / 2)  # what is left is scaled up to 1


@pytest.fixture(scope="module")
def faceset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_faceset(tmp_path_factory.mktemp("faceset"), {"train": 4, "valid": 30})


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_only_with_and_without_suffix(faceset: Path, tmp_path: Path, newline: str) -> None:
    split = read_split(faceset, "valid")
    listed = ["valid00003.png", " valid00007 ", "", "valid99999.png", "strange", "valid00003.png"]
    (tmp_path / "ids.txt").write_bytes(newline.join(listed).encode("utf-8-sig"))
    chosen, absent = choose(split, tmp_path / "ids.txt")
    assert chosen.ids == ("valid00003.png", "valid00007.png")
    assert np.array_equal(chosen.crops, split.crops[[3, 7]])
    assert absent == 2
    assert choose(split, None) == (split, 0)


def test_an_exact_id_brings_no_namesake(faceset: Path, tmp_path: Path) -> None:
    valid = read_split(faceset, "valid").take(np.arange(3))
    split = type(valid)(("a.png", "a.jpg", "b.v2"), valid.groups, valid.crops, valid.votes, valid.kind, valid.classes)
    (tmp_path / "ids.txt").write_text("a.png\nb\n")
    chosen, absent = choose(split, tmp_path / "ids.txt")
    assert chosen.ids == ("a.png",)
    assert absent == 1  # v2 is no picture's suffix
    (tmp_path / "ids.txt").write_text("a\nb.v2\n")
    assert choose(split, tmp_path / "ids.txt")[0].ids == split.ids


def test_lists_that_are_none(faceset: Path, tmp_path: Path) -> None:
    split = read_split(faceset, "valid")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x01")
    for file in (tmp_path / "absent", tmp_path, tmp_path / "binary"):
        with pytest.raises(UsageError, match="list of ids"):
            choose(split, file)


@pytest.mark.parametrize("protocol", ["majority", "argmax"])
def test_evaluate_is_predict_then_score(faceset: Path, tmp_path: Path, protocol: str) -> None:
    ref = small_model(tmp_path)
    result = evaluate(faceset, str(ref.path), "valid", protocol)  # type: ignore[arg-type]
    split = read_split(faceset, "valid")
    classes, kept = majority_classes(split.votes, "votes") if protocol == "majority" else argmax_classes(split.votes)
    assert result == score(load_predictor(str(ref.path)).probabilities(split.crops[kept]), classes, EXPRESSIONS, intervals=True)
    report = report_json(result, protocol, "valid", ref.name, ref.digest)  # type: ignore[arg-type]
    wanted = "n accuracy balanced_accuracy macro_f1 ece per_class confusion classes protocol split model"
    assert set(wanted.split()) <= set(report)
    assert report["model"] == {"name": ref.name, "digest": ref.digest}


def test_evaluate_a_set_of_seven(tmp_path: Path) -> None:
    seven = EXPRESSIONS[:7]
    faceset = made_faceset(tmp_path / "set", {"test": 14}, "single", classes=seven)
    result = evaluate(faceset, str(small_model(tmp_path / "model").path), "test", "majority")
    assert result.n == 14
    assert result.classes == seven
    assert np.array(result.confusion).shape == (7, 7)


def test_nothing_to_score(faceset: Path, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("nobody\n")
    model = str(small_model(tmp_path / "model").path)
    with pytest.raises(FaceSetError, match="no face to score"):
        evaluate(faceset, model, "valid", "majority", tmp_path / "ids.txt")
    with pytest.raises(FaceSetError, match="no split"):
        evaluate(faceset, model, "test", "majority")
