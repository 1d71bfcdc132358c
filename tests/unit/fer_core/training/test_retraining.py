"""What a retraining learns from, and when it is refused."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fer_core.errors import FaceSetError, TrainingError
from fer_core.faceset import FaceSetCard, read_split, write_card
from fer_core.models.store import resolve_model
from fer_core.predict.predictor import Predictor
from fer_core.training.model_comparison import compare_models, gate_splits
from fer_core.training.promotion_gate import CORRUPTIONS, GateBounds, judge
from fer_core.training.retraining import check_enough, plan_retraining
from fer_core.training.train import Sources, TrainingCallbacks, _parts, train
from tests.support.made_faces import QUICK, made_faceset, small_model

CONFIG = replace(QUICK, epochs=2)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return made_faceset(tmp_path_factory.mktemp("base"), {"train": 120, "valid": 120, "test": 80})


@pytest.fixture(scope="module")
def champion(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("champion") / "old")


def reviewed_set(folder, counts, per_class):
    """Only its card is asked."""
    folder.mkdir()
    write_card(folder, FaceSetCard("reviewed", "single", tuple(per_class.get("train", {})), "drawn", counts, 0, 1.0, per_class=per_class))
    return folder


class TestLessons:
    def test_the_same_faces_give_the_same_name(self, base, champion):
        names = {plan_retraining((base,), None, champion, CONFIG, "from champion").config.name for _ in range(2)}
        others = {
            plan_retraining((base,), None, champion, replace(CONFIG, epochs=3), "from champion").config.name,
            plan_retraining((base,), None, champion, CONFIG, "from random weights").config.name,
        }
        assert len(names) == 1
        assert len(names | others) == 3

    def test_a_champion_is_tuned_with_its_own_network_and_answers(self, base, champion):
        found = plan_retraining((base,), None, champion, replace(CONFIG, network=replace(CONFIG.network, embedding=8)), "from champion")
        assert found.config.network.embedding == 16
        assert found.sources.start == champion
        assert found.sources.teachers == (champion,)
        assert found.judge == base

    def test_from_random_weights_the_champion_has_no_say(self, base, champion):
        sources = plan_retraining((base,), None, champion, CONFIG, "from random weights").sources
        assert sources.start is None
        assert sources.teachers == ()

    def test_nothing_to_learn_from(self, champion):
        with pytest.raises(TrainingError, match="there are no training faces"):
            plan_retraining((), None, champion, CONFIG, "from champion")

    def test_reviews_without_a_training_face_are_left_out(self, tmp_path, base, champion):
        none = reviewed_set(tmp_path / "none", {"valid": 3}, {"valid": {"anger": 3}})
        assert plan_retraining((base,), none, champion, CONFIG, "from champion").sources.facesets == (base,)

    def test_reviewed_rows_win(self, tmp_path, base, champion):
        """A picture that is in both sets is learnt once, with the reviewed label."""
        reviewed = made_faceset(tmp_path / "reviewed", {"train": 40}, kind="single")
        sources = plan_retraining((base,), reviewed, champion, CONFIG, "from champion").sources
        assert sources.prevailing == (reviewed,)
        ours, theirs = read_split(reviewed, "train"), read_split(base, "train")
        shared = set(ours.pictures) & set(theirs.pictures)
        assert len(shared) == 40
        plain = Sources(sources.facesets)
        winning = replace(plain, prevailing=(reviewed,))
        twice, once = (len(_parts(each, replace(CONFIG, distill=0.0), "cpu")[0]) for each in (plain, winning))
        in_base = len(theirs) - len(_held_back(base))
        assert once < twice <= in_base + 40
        assert plain.to_json() != winning.to_json()


def _held_back(base):
    from fer_core.faceset import carve_dev

    return carve_dev(read_split(base, "train"), CONFIG.dev_share)[1].ids


class TestReviewedFacesAlone:
    def test_enough(self, tmp_path):
        train = {"neutral": 60, "happiness": 30, "anger": 10}
        check_enough(reviewed_set(tmp_path / "set", {"train": 100, "valid": 30}, {"train": train}))

    def test_what_is_missing_is_said(self, tmp_path):
        train = {"neutral": 60, "happiness": 9}
        few = reviewed_set(tmp_path / "set", {"train": 69, "valid": 5, "test": 5}, {"train": train})
        with pytest.raises(TrainingError) as caught:
            check_enough(few)
        text = str(caught.value)
        assert "31 more reviewed training faces (there are 69)" in text
        assert "10 faces of each of 3 expressions (there are: neutral 60, happiness 9)" in text
        assert "20 more reviewed held-out faces (there are 10)" in text
        assert "\n" not in text

    def test_one_sided(self, tmp_path):
        sided = reviewed_set(tmp_path / "set", {"train": 500, "valid": 50}, {"train": {"happiness": 490, "neutral": 10}})
        with pytest.raises(TrainingError, match="each of 3 expressions"):
            check_enough(sided)


class TestJudges:
    def test_valid_gates_and_test_reports(self, base):
        found = gate_splits(base)
        assert (len(found.gate), len(found.report)) == (120, 80)
        assert not set(found.gate.pictures) & set(found.report.pictures)

    def test_a_single_split_is_divided(self, tmp_path):
        found = gate_splits(made_faceset(tmp_path / "set", {"train": 40, "valid": 120}))
        assert len(found.gate) + len(found.report) == 120
        assert 30 < len(found.gate) < 90
        assert not set(found.gate.groups) & set(found.report.groups)
        assert "one half of valid" in found.where

    def test_a_set_without_held_out_faces(self, tmp_path):
        with pytest.raises(FaceSetError, match="neither a valid nor a test split"):
            gate_splits(made_faceset(tmp_path / "set", {"train": 40}))

    def test_a_model_against_itself_passes_on_all_but_pace(self, base, champion):
        model = Predictor(champion, "cpu")
        met = compare_models(gate_splits(base).gate, "majority", (model, model))
        assert set(met.champion.corrupted) == set(CORRUPTIONS)
        assert np.array_equal(met.champion.clean, met.challenger.clean)
        assert not np.array_equal(met.champion.corrupted["occlusion"], met.champion.clean.argmax(axis=1))
        verdict = judge(met.truth, met.champion, met.challenger, GateBounds(speed=0.0, support=10))
        assert verdict.passed
        assert verdict.faces == len(met.truth) <= 120

    def test_classes_that_a_set_lacks_are_masked(self, tmp_path, champion):
        counts, classes = {"train": 8, "valid": 60, "test": 20}, ("neutral", "happiness", "anger")
        three = made_faceset(tmp_path / "set", counts, kind="single", classes=classes)
        model = Predictor(champion, "cpu")
        clean = compare_models(gate_splits(three).gate, "majority", (model, model)).champion.clean
        assert set(np.flatnonzero(clean.sum(axis=0))) <= {0, 1, 4}
        assert np.allclose(clean.sum(axis=1), 1)


TRAINING = """
import sys, time
from pathlib import Path
sys.path.insert(0, ".")
from tests.unit.fer_core.training.test_retraining import taught
def wait(record):
    print("epoch", record.epoch, flush=True)
    time.sleep(60)
taught(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), wait)
"""


def taught(base, champion, models, epoch):
    found = plan_retraining((base,), None, resolve_model(str(champion)), CONFIG, "from champion")
    return train(found.sources, models, found.config, "cpu", resume=True, listener=TrainingCallbacks(epoch=epoch)).digest


def test_killed_in_training_it_goes_on_and_ends_the_same(tmp_path, base, champion, request):
    whole, again = [], []
    digest = taught(base, champion.path, tmp_path / "whole", lambda record: whole.append(record.epoch))
    words = [sys.executable, "-c", TRAINING, str(base), str(champion.path), str(tmp_path / "killed")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=request.config.rootpath)
    assert process.stdout is not None
    assert process.stdout.readline() == "epoch 1\n"
    process.kill()
    process.communicate(timeout=280)
    (folder,) = (tmp_path / "killed").iterdir()
    assert not (folder / "card.json").exists(), "a challenger in the making is no model"
    assert taught(base, champion.path, tmp_path / "killed", lambda record: again.append(record.epoch)) == digest
    assert (whole, again) == ([1, 2], [2])
