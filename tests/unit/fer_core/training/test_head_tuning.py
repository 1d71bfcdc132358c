"""A head refitted to a few faces: what it learns, from whom it is judged, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from fer_core.errors import ModelError, TrainingError
from fer_core.faceset import FaceSetCard, write_card, write_split
from fer_core.labels import EXPRESSIONS
from fer_core.models.prior import PRIORS
from fer_core.models.reference_faces import REFERENCE, ReferenceFaces, network_digest, read_reference, write_reference
from fer_core.models.store import SHIPPED, read_weights, resolve_model
from fer_core.predict.predictor import Predictor
from fer_core.training.head_fit import Evidence, Head, fit_head
from fer_core.training.head_tuning import tune_head
from fer_core.training.head_validation import calibration_error_deviation, folds, hold_out
from fer_core.training.promotion_gate import GateBounds, GateOutputs, judge_tuned
from tests.support.made_faces import SMALL, faces, made_faceset, rows, small_model, small_model_with_prior

DIMENSIONS = 12
FLAT = Evidence(np.zeros(8), 1.0)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def turned(count, seed=0, scale=8.0):
    """A head, and faces of four expressions whose first one looks other than the head believes."""
    random = np.random.default_rng(seed)
    head = Head(unit(random.normal(size=(8, DIMENSIONS))), np.zeros(8), scale)
    true = head.centers.copy()
    true[0] = unit(true[0] + 1.5 * unit(random.normal(size=DIMENSIONS)))
    classes = np.arange(count, dtype=np.int64) % 4
    return head, true, unit(true[classes] + 0.1 * random.normal(size=(count, DIMENSIONS))), classes


class TestFit:
    def test_a_center_turns_to_where_its_faces_are(self):
        head, true, vectors, classes = turned(800)
        fitted = fit_head(head, FLAT, vectors, classes)
        assert fitted.centers[0] @ true[0] > head.centers[0] @ true[0] + 0.05
        np.testing.assert_allclose(np.linalg.norm(fitted.centers, axis=1), 1)
        before, after = ((one.logits(vectors).argmax(axis=1) == classes).mean() for one in (head, fitted))
        assert after >= before

    def test_an_expression_that_is_not_there_stays_where_it_was(self):
        head, _, vectors, classes = turned(80)
        fitted = fit_head(head, FLAT, vectors, classes)
        np.testing.assert_allclose(fitted.centers[4:], head.centers[4:], atol=1e-3)
        np.testing.assert_allclose(fitted.bias[4:], 0, atol=1e-2)

    def test_it_is_deterministic(self):
        head, _, vectors, classes = turned(60)
        first, second = (fit_head(head, FLAT, vectors, classes) for _ in range(2))
        np.testing.assert_array_equal(first.centers, second.centers)
        np.testing.assert_array_equal(first.bias, second.bias)

    def test_a_strong_pull_leaves_the_start(self):
        head, _, vectors, classes = turned(60)
        fitted = fit_head(head, FLAT, vectors, classes, pull=1e8)
        np.testing.assert_allclose(fitted.centers, head.centers, atol=1e-4)

    def test_how_often_an_expression_was_labelled_is_not_learnt(self):
        """Twice as many faces of one expression, and no other of it: the bias does not follow."""
        head, _, vectors, classes = turned(80)
        more = np.r_[np.arange(80), np.flatnonzero(classes == 1), np.flatnonzero(classes == 1)]
        fitted = [fit_head(head, FLAT, vectors[some], classes[some]) for some in (np.arange(80), more)]
        assert abs(fitted[0].bias[1] - fitted[1].bias[1]) < 0.2  # of log 3


class TestHoldingOut:
    @pytest.mark.parametrize(("groups", "count"), [(40, 5), (10, 5), (9, 9), (2, 2)])
    def test_no_group_straddles_two_folds(self, groups, count):
        names = [f"person {number % groups}" for number in range(120)]
        found = folds(names)
        assert len(set(found)) == count
        assert len({(name, fold) for name, fold in zip(names, found, strict=True)}) == groups
        np.testing.assert_array_equal(found[::-1], folds(names[::-1]))

    def test_logits_come_from_a_head_that_saw_no_face_of_the_group(self):
        head, _, vectors, classes = turned(60)
        groups = [str(number // 6) for number in range(60)]
        out = hold_out(head, FLAT, vectors, classes, groups)
        held = out.fold == out.fold[0]
        np.testing.assert_allclose(out.logits[held], fit_head(head, FLAT, vectors[~held], classes[~held]).logits(vectors[held]))

    def test_the_deviation_of_a_difference(self):
        random = np.random.default_rng(0)
        classes = random.integers(0, 8, 100)
        sure, groups = np.eye(8)[classes], [str(number) for number in range(100)]
        assert calibration_error_deviation(classes, sure, sure, groups) == 0
        assert 0 < calibration_error_deviation(classes, sure, random.dirichlet(np.ones(8), 100), groups) < 0.2


class TestVerdict:
    def verdict(self, before, after, deviation=0.01):
        truth = np.arange(200) % 8
        outputs = [GateOutputs(name, name, said, {}, 0.0) for name, said in (("a", before), ("b", after))]
        return judge_tuned(truth, *outputs, deviation, GateBounds(support=20))

    def answers(self, right, confidence):
        truth = np.arange(200) % 8
        said = np.where(np.random.default_rng(1).random(200) < right, truth, (truth + 1) % 8)
        return (1 - confidence) / 7 + np.eye(8)[said] * (confidence - (1 - confidence) / 7)

    def test_better_and_as_calibrated_passes(self):
        assert self.verdict(self.answers(0.6, 0.6), self.answers(0.8, 0.8), 0.1).passed

    def test_the_same_does_not_pass(self):
        verdict = self.verdict(self.answers(0.6, 0.6), self.answers(0.6, 0.6))
        assert not verdict.passed
        assert [reason.partition(":")[0] for reason in verdict.reasons] == ["balanced accuracy"]

    def test_worse_calibration_does_not_pass(self):
        verdict = self.verdict(self.answers(0.6, 0.6), self.answers(0.8, 0.99))
        assert [reason.partition(":")[0] for reason in verdict.reasons] == ["calibration error"]

    def test_other_bounds_are_reported_only(self):
        verdict = self.verdict(self.answers(0.6, 0.6), self.answers(0.8, 0.8), 0.1)
        told = {check.name for check in verdict.checks if not check.asked}
        assert {"accuracy", "macro F1", "recall of fear"} <= told


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    ref = small_model_with_prior(tmp_path_factory.mktemp("start") / "first")
    random, tensors = np.random.default_rng(0), read_weights(ref)[0]
    reference = ReferenceFaces(
        "made", random.normal(size=(50, SMALL.embedding)).astype(np.float32), np.eye(8, dtype=np.float32)[np.arange(50) % 8]
    )
    write_reference(ref.path, reference, tensors)
    return ref


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    return made_faceset(tmp_path_factory.mktemp("labelled"), {"train": 64}, "single")


@pytest.fixture(scope="module")
def tuned(start, labelled, tmp_path_factory):
    return tune_head(start, (labelled,), tmp_path_factory.mktemp("models"))


class TestTuning:
    def test_only_the_head_changes(self, start, tuned):
        before, old = read_weights(start)
        after, new = read_weights(tuned.model)
        assert network_digest(before) == network_digest(after)
        assert new.network == replace(old.network, class_bias=True)
        assert (new.prior.bias, new.flip) == (old.prior.bias, old.flip)
        assert new.prior.novelty.offset == pytest.approx(after["class_bias"], abs=1e-6)
        assert replace(new.prior.novelty, offset=old.prior.novelty.offset) == old.prior.novelty

    def test_it_labels_better(self, start, tuned):
        crops, truth = faces(64, seed=5), np.arange(64) % 8
        right = [(Predictor(ref, "cpu").probabilities(crops).argmax(axis=1) == truth).mean() for ref in (start, tuned.model)]
        assert right[1] > right[0]
        assert tuned.verdict.passed == (not tuned.verdict.reasons)

    def test_its_card_says_what_it_is(self, start, tuned, labelled):
        told = tuned.model.card["tuned"]
        assert told["from"] == {"name": "first", "digest": start.digest}
        assert (told["faces"], told["groups"], told["per_class"]["fear"]) == (64, 64, 8)
        assert told["gain"]["balanced_accuracy"]["tuned"] == round(tuned.tuned.balanced_accuracy, 4)
        assert (told["reference"]["name"], told["reference"]["faces"]) == ("made", 50)
        assert tuned.model.card["spec"]["prior"]["calibrations"].keys() == set(PRIORS)
        assert any("one collection" in gap for gap in tuned.model.card["known_gaps"])

    def test_the_same_faces_give_the_same_model_which_can_be_tuned_on(self, start, tuned, labelled, tmp_path):
        again = tune_head(start, (labelled,), tmp_path, "first-tuned")
        assert again.model.digest == tuned.model.digest
        further = tune_head(again.model, (labelled,), tmp_path)
        assert further.model.name == "first-tuned-tuned"
        assert further.model.card["tuned"]["reference"]["faces"] == 50

    def test_faces_of_one_person_are_refused(self, start, tmp_path):
        written = write_split(
            tmp_path / "one", "train", ({**row, "group": "one", "picture": row["group"]} for row in rows(40, "train", "single"))
        )
        write_card(tmp_path / "one", FaceSetCard("made", "single", EXPRESSIONS, "drawn", {"train": written}, 0, 1.0))
        with pytest.raises(TrainingError, match="two groups"):
            tune_head(start, (tmp_path / "one",), tmp_path)

    @pytest.mark.parametrize(("count", "classes"), [(1, EXPRESSIONS), (19, EXPRESSIONS), (40, ("fear",))])
    def test_too_little_is_refused(self, start, tmp_path, count, classes):
        few = made_faceset(tmp_path / "few", {"train": count}, "single", classes=classes)
        with pytest.raises(TrainingError, match="at least 20 faces of 2 expressions"):
            tune_head(start, (few,), tmp_path)

    def test_a_start_without_a_class_prior_is_refused(self, labelled, tmp_path):
        with pytest.raises(TrainingError, match="no class prior"):
            tune_head(small_model(tmp_path / "early"), (labelled,), tmp_path)

    def test_a_linear_classifier_is_refused(self, labelled, tmp_path):
        linear = small_model_with_prior(tmp_path / "linear", replace(SMALL, classifier="linear"))
        with pytest.raises(TrainingError, match="cosine classifier"):
            tune_head(linear, (labelled,), tmp_path)

    def test_a_model_of_other_expressions_is_refused(self, labelled, tmp_path):
        other = small_model_with_prior(tmp_path / "other", replace(SMALL, classes=EXPRESSIONS[::-1]))
        with pytest.raises(TrainingError, match="eight expressions in their order"):
            tune_head(other, (labelled,), tmp_path)


class TestReference:
    def test_it_is_read_as_it_was_written(self, start):
        found = read_reference(start.path, read_weights(start)[0])
        assert found.embeddings.shape == (50, SMALL.embedding)
        assert found.shares.sum() == 50

    def test_that_of_another_network_is_refused(self, start, tmp_path):
        other = small_model_with_prior(tmp_path / "other", replace(SMALL, dropout=0.2))
        tensors = {name: tensor + 1 for name, tensor in read_weights(other)[0].items()}
        (other.path / REFERENCE).write_bytes((start.path / REFERENCE).read_bytes())
        with pytest.raises(ModelError, match="another network"):
            read_reference(other.path, tensors)

    @pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"", lambda data: data.replace(b"shares", b"shapes")])
    def test_a_damaged_one_is_refused(self, start, tmp_path, damage):
        (tmp_path / REFERENCE).write_bytes(damage((start.path / REFERENCE).read_bytes()))
        with pytest.raises(ModelError, match="damaged reference faces"):
            read_reference(tmp_path, read_weights(start)[0])

    @pytest.mark.parametrize("folder", sorted(SHIPPED.iterdir()), ids=lambda folder: folder.name)
    def test_that_of_a_shipped_model_is_of_its_network(self, folder):
        tensors = read_weights(resolve_model(folder.name))[0]
        found = read_reference(folder, tensors)
        assert found is None or len(found.shares) > 100
