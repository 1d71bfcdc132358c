"""What a small detector learns from a large one, and the pruned network that it starts from."""

import sys
from dataclasses import replace

import pytest
import torch

from benchmarks.detector.training import pruning
from benchmarks.detector.training.assignment import Truth, assigned
from benchmarks.detector.training.batches import TrainedTeacher, batches
from benchmarks.detector.training.detector_run import SIZES, DetectorRun, RunConfig
from benchmarks.detector.training.distillation import distillation_loss
from benchmarks.detector.training.material import Found, write
from benchmarks.detector.training.pruning import pruned
from benchmarks.detector.training.scenes import SceneMaker
from fer_core.detect.builtin.config import DetectionConfig
from fer_core.detect.builtin.network import DetectionNet, DetectionOutputs
from fer_core.detect.builtin.weights import SHIPPED, load_detector
from fer_core.errors import DetectorError, TrainingError
from tests.support import labelled_pictures, made_faces

SMALL = SIZES["small"]
CONFIG = RunConfig(steps=10, batch=2, side=64, rate=2e-3, seed=5, network=SMALL)
CPU = torch.device("cpu")
POINTS = torch.tensor([[14.0, 14.0], [26.0, 14.0], [20.0, 20.0], [15.0, 26.0], [25.0, 26.0]])


@pytest.fixture(scope="module")
def pictures():
    return [picture for picture in labelled_pictures.material() if picture.name in {"portrait", "loose", "street"}]


def one_face(*, known=True):
    return Truth(torch.tensor([[[8.0, 8.0, 32.0, 32.0]]]), POINTS[None, None], torch.tensor([[known]]), torch.tensor([[False]]))


def outputs(logit, shift=0.0):
    """Of a picture of 64 px: every place but those of the finest level near the face says that there is none."""
    network = DetectionNet(SMALL)
    with torch.no_grad():
        blank = network(torch.zeros(1, 3, 64, 64))
    count = blank.logits.shape[1]
    logits = torch.full((1, count), -6.0)
    logits[0, 2 * 8 + 2] = logit  # centre (20, 20)
    boxes = torch.tensor([8.0, 8.0, 32.0, 32.0]).repeat(1, count, 1) + shift
    return DetectionOutputs(
        logits.requires_grad_(), boxes.requires_grad_(), (POINTS + shift).repeat(1, count, 1, 1), blank.centres, blank.grids
    )


def loss(seen, taught, truth):
    return distillation_loss(seen, taught, truth, assigned(seen, truth))


class TestLoss:
    def test_the_same_outputs_cost_nothing(self):
        same = loss(outputs(2.0), outputs(2.0), one_face())
        assert [same.score.item(), same.box.item(), same.points.item()] == pytest.approx([0, 0, 0], abs=1e-5)

    def test_each_difference_costs(self):
        unsure, apart = loss(outputs(-2.0), outputs(2.0), one_face()), loss(outputs(2.0, shift=3.0), outputs(2.0), one_face())
        assert unsure.score > 0.1
        assert unsure.box.item() == pytest.approx(0, abs=1e-5)
        assert apart.score.item() == pytest.approx(0, abs=1e-5)
        assert apart.box > 0.1
        assert apart.points.item() == pytest.approx(3 * 2**0.5 / 24 * torch.tensor(2.0).sigmoid().item(), rel=1e-3)

    def test_the_teacher_is_not_changed(self):
        seen, taught = outputs(-2.0, shift=1.0), outputs(2.0)
        loss(seen, taught, one_face()).total.backward()
        assert seen.logits.grad is not None
        assert taught.logits.grad is None

    def test_a_face_that_the_labels_do_not_have_is_not_learnt(self):
        nothing = loss(outputs(-6.0, shift=3.0), outputs(4.0), one_face(known=False))
        assert [nothing.score.item(), nothing.box.item(), nothing.points.item()] == pytest.approx([0, 0, 0], abs=1e-4)

    def test_a_face_that_the_teacher_misses_is_not_unlearnt(self):
        seen = outputs(4.0)
        loss(seen, outputs(-6.0), one_face()).total.backward()
        positive = assigned(seen, one_face()).positive
        assert positive.any()
        assert not seen.logits.grad[positive].any()


class TestRun:
    def test_it_is_of_the_chosen_sizes_and_learns_from_the_teacher(self, pictures, tmp_path):
        taught = DetectorRun(CONFIG, pictures, CPU, tmp_path / "taught", teacher=SHIPPED)
        alone = DetectorRun(CONFIG, pictures, CPU, tmp_path / "alone")
        assert taught.network.config == alone.network.config == SMALL
        for run in (taught, alone):
            run.learn(2, 0, lambda line: None)
        weights = taught.network.state_dict()
        assert not all(torch.equal(tensor, weights[name]) for name, tensor in alone.network.state_dict().items())

    def test_another_teacher_is_another_run(self, pictures, tmp_path):
        DetectorRun(CONFIG, pictures, CPU, tmp_path, teacher=SHIPPED).save()
        assert DetectorRun(CONFIG, pictures, CPU, tmp_path, teacher=SHIPPED).step == 0
        with pytest.raises(TrainingError, match="belongs to another"):
            DetectorRun(CONFIG, pictures, CPU, tmp_path)
        with pytest.raises(TrainingError, match=r"another configuration|belongs to another|another shape"):
            DetectorRun(replace(CONFIG, network=DetectionConfig()), pictures, CPU, tmp_path, teacher=SHIPPED)
        with pytest.raises(DetectorError, match="not found"):
            DetectorRun(CONFIG, pictures, CPU, tmp_path, teacher=tmp_path / "none.safetensors")


class TestTeacher:
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # of os.fork
    def test_it_runs_where_the_scenes_are_made(self, pictures):
        network = load_detector(SHIPPED)
        maker, teacher = SceneMaker(pictures, 64, 0), TrainedTeacher(network, bfloat16=False)
        here, there = (list(batches(maker, 2, range(2), processes, teacher)) for processes in (0, 1))
        for one, two in zip(here, there, strict=True):
            assert torch.allclose(one.taught.logits, two.taught.logits, atol=1e-4)
            assert torch.allclose(one.taught.logits, network(one.pictures.float()).logits, atol=1e-4)
            assert one.taught.grids == two.taught.grids == ((8, 8), (4, 4), (2, 2))

    def test_no_teacher(self, pictures):
        assert next(iter(batches(SceneMaker(pictures, 64, 0), 2, range(1), 0))).taught is None


class TestPruning:
    def test_all_channels_give_the_same_outputs(self):
        large, pixels = load_detector(SHIPPED), 255 * torch.rand(12, 3, 96, 96, generator=torch.Generator().manual_seed(1))
        copy = pruned(large, large.config, pixels)
        with torch.no_grad():
            told, expected = copy(pixels), large(pixels)
        assert torch.allclose(told.logits, expected.logits, atol=0.3)

    def test_a_part_comes_closer_than_drawn_weights(self):
        large, pixels = load_detector(SHIPPED), 255 * torch.rand(12, 3, 96, 96, generator=torch.Generator().manual_seed(1))
        small = pruned(large, SMALL, pixels)
        assert small.config == SMALL
        with torch.no_grad():
            theirs, ours, drawn = (network(pixels).logits for network in (large, small, DetectionNet(SMALL).eval()))
        assert (ours - theirs).square().mean() < 0.5 * (drawn - theirs).square().mean()

    def test_other_blocks_are_refused(self):
        with pytest.raises(ValueError, match="as many blocks"):
            pruned(load_detector(SHIPPED), replace(SMALL, blocks=(1, 1, 1)), torch.zeros(1, 3, 64, 64))

    # the names are such that none is held out
    def test_the_command(self, pictures, tmp_path, monkeypatch):
        write(
            [(Found(each.kind, f"{each.name}.jpg", made_faces.encoded(each.pixels)), each.faces) for each in pictures],
            tmp_path / "a.parquet",
        )
        monkeypatch.setattr(
            sys, "argv", ["pruning", str(tmp_path / "a.parquet"), "--to", str(tmp_path / "small.safetensors"), "--scenes", "2"]
        )
        pruning.main()
        assert load_detector(tmp_path / "small.safetensors").config == SMALL
