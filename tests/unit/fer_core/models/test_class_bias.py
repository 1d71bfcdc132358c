"""A class prior that a network keeps apart: learned beside the cosines, stored, scaled or left out when it answers."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_core.errors import TrainingError
from fer_core.evaluation.training_history import read
from fer_core.faceset import carve_dev, read_split
from fer_core.losses.directions import pair_cosines
from fer_core.losses.objective import LossConfig, LossKind
from fer_core.models.network import MultiscaleNet
from fer_core.models.network_config import NetworkConfig
from fer_core.models.store import ModelRef, load_model, save_model
from fer_core.predict.predictor import Predictor
from fer_core.training.config import TrainConfig
from fer_core.training.dataset import TrainingData, training_data
from fer_core.training.distributed import Ranks
from fer_core.training.run import TrainingRun, log_prior, simplex
from fer_core.training.train import HISTORY, OTHERS, Sources, TrainingCallbacks, _parts, train
from tests.support.loss_cases import KINDS, case, loss_of
from tests.support.made_faces import QUICK, SMALL, faces, made_faceset, small_spec

CPU = torch.device("cpu")
KNOWN = replace(SMALL, affine=False, class_bias=True, logit_scale=8.0)
"""A network with such a prior."""
RUN = replace(
    QUICK, network=KNOWN, loss=LossConfig(margin=0.05, compactness=0.1, margin_start=1 / 3), centers="sphere", epochs=3, patience=0
)


@pytest.fixture(scope="module")
def faceset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_faceset(tmp_path_factory.mktemp("faceset"), {"train": 80})


@pytest.fixture(scope="module")
def learned(faceset: Path) -> TrainingData:
    return training_data(read_split(faceset, "train", luma=True), 0.0, 0.0)


def model(folder: Path, bias: float = 1.0) -> ModelRef:
    torch.manual_seed(0)
    network = MultiscaleNet(KNOWN)
    assert network.class_bias is not None
    network.class_bias.data = bias * torch.arange(8.0)
    return save_model(folder, network.state_dict(), small_spec(KNOWN), {"name": folder.name})


def test_networks_of_before_are_described_as_before() -> None:
    told = SMALL.to_json()
    assert not {"affine", "class_bias"} & told.keys()
    assert NetworkConfig.from_json(told) == SMALL
    assert NetworkConfig.from_json(json.loads(json.dumps(KNOWN.to_json()))) == KNOWN
    assert "centers" not in QUICK.to_json()
    assert "margin_start" not in QUICK.to_json()["loss"]
    assert TrainConfig.from_json(json.loads(json.dumps(RUN.to_json()))) == RUN
    names = MultiscaleNet(SMALL).state_dict().keys()
    assert "norm.bias" in names
    assert "class_bias" not in names


@pytest.mark.parametrize("runtime", ["torch", "ONNX Runtime"])
def test_the_bias_is_added_to_the_cosines(runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if runtime == "torch":
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    crops = faces(9, colour=True)
    without = Predictor(model(tmp_path / "none", bias=0), "cpu").logits(crops)
    said = Predictor(model(tmp_path / "known"), "cpu").logits(crops)
    assert np.abs(said - without - np.arange(8)).max() < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_a_bias_that_is_the_same_for_all_changes_nothing(kind: LossKind) -> None:
    x, loss = case(5, 8), loss_of(kind, 8)
    plain = loss(x.embeddings, x.centers, x.targets, x.weights).item()
    even, uneven = torch.full((8,), 3.0, dtype=torch.float64), torch.arange(8.0, dtype=torch.float64)
    assert loss(x.embeddings, x.centers, x.targets, x.weights, even).item() == pytest.approx(plain, abs=1e-12)
    assert abs(loss(x.embeddings, x.centers, x.targets, x.weights, uneven).item() - plain) > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_the_bias(kind: LossKind) -> None:
    x, loss = case(4, 5), loss_of(kind, 5)
    bias = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda b: loss(x.embeddings, x.centers, x.targets, x.weights, b), (bias,))


def test_the_margin_grows_in() -> None:
    config = LossConfig(margin=0.3, margin_start=0.25)
    assert [config.margin_at(done) for done in (0, 0.25, 0.5, 1)] == pytest.approx([0, 0, 0.3, 0.3])
    assert config.margin_at(0.375) == pytest.approx(0.15)
    assert LossConfig(margin=0.3).margin_at(0) == 0.3
    loss = loss_of("center_cosine", 5, margin=0.3, margin_start=0.25)
    loss.at(0.1)
    x = case(4, 5)
    plain = loss_of("center_cosine", 5, margin=0)
    assert loss(x.embeddings, x.centers, x.targets).item() == plain(x.embeddings, x.centers, x.targets).item()


def test_a_margin_that_would_never_be_whole() -> None:
    with pytest.raises(ValueError, match="reached before the end"):
        LossConfig(margin_start=0.6)
    with pytest.raises(ValueError, match="no margin_start"):
        LossConfig("center", margin_start=0.3)


def test_the_bias_starts_as_the_log_prior(learned: TrainingData) -> None:
    run = TrainingRun(RUN, CPU, Ranks(), learned)
    assert run.network.class_bias is not None
    assert torch.equal(run.network.class_bias, log_prior(learned))
    assert log_prior(learned).exp().sum().item() == pytest.approx(1, abs=1e-6)
    one_class = replace(learned, targets=torch.eye(8)[torch.zeros(len(learned), dtype=torch.long)])
    assert log_prior(one_class)[1:].exp().max().item() == pytest.approx(1e-5)


def test_centers_stay_on_the_sphere(learned: TrainingData) -> None:
    run = TrainingRun(RUN, CPU, Ranks(), learned)
    before = run.network.centers.detach().clone()
    run.epoch(lambda done, steps: None)
    assert torch.allclose(run.network.centers.norm(dim=1), torch.ones(8), atol=1e-6)
    assert not torch.equal(run.network.centers, before)


def test_a_fixed_simplex_stays(learned: TrainingData) -> None:
    run = TrainingRun(replace(RUN, centers="simplex"), CPU, Ranks(), learned)
    before = run.network.centers.detach().clone()
    assert torch.allclose(pair_cosines(before), torch.tensor(-1 / 7), atol=1e-6)
    run.epoch(lambda done, steps: None)
    assert torch.equal(run.network.centers, before)


def test_a_simplex_is_near_what_it_is_made_of() -> None:
    base = torch.nn.init.orthogonal_(torch.empty(8, 16), generator=torch.Generator().manual_seed(0))
    assert (simplex(base) * base).sum(1).abs().min().item() > 0.9


@pytest.mark.parametrize("centers", ["sphere", "simplex"])
def test_centers_that_there_are_not(centers: str) -> None:
    with pytest.raises(TrainingError, match="only a cosine classifier"):
        TrainConfig.from_json({"loss": {"kind": "center"}, "centers": centers})
    with pytest.raises(TrainingError, match="one of"):
        TrainConfig.from_json({"centers": "cube"})


@pytest.mark.parametrize("centers", ["sphere", "simplex"])
def test_resuming_is_exact(centers: str, faceset: Path, tmp_path: Path) -> None:
    config = TrainConfig.from_json({**RUN.to_json(), "centers": centers})
    whole = train(Sources((faceset,)), tmp_path / "whole", config, "cpu")

    class Stop(Exception):  # noqa: N818
        pass

    def stop(record: object) -> None:
        raise Stop

    with pytest.raises(Stop):
        train(Sources((faceset,)), tmp_path / "twice", config, "cpu", listener=TrainingCallbacks(epoch=stop))
    again = train(Sources((faceset,)), tmp_path / "twice", config, "cpu", resume=True)
    assert again.digest == whole.digest
    network, _ = load_model(whole)
    assert network.class_bias is not None
    assert whole.card["spec"]["prior"]["bias"] == pytest.approx(network.class_bias.tolist(), abs=1e-6)


def test_resuming_amid_an_epoch_is_exact(faceset: Path, tmp_path: Path) -> None:
    config = replace(RUN, batch=16)
    whole = train(Sources((faceset,)), tmp_path / "whole", config, "cpu", keep_after=0)
    seen: list[int] = []

    class Stop(Exception):  # noqa: N818
        pass

    def stop(done: int, steps: int) -> None:
        seen.append(done)
        if len(seen) == steps + 2:  # amid the second epoch
            raise Stop

    with pytest.raises(Stop):
        train(Sources((faceset,)), tmp_path / "twice", config, "cpu", listener=TrainingCallbacks(step=stop), keep_after=0)
    again: list[int] = []
    resumed = train(
        Sources((faceset,)),
        tmp_path / "twice",
        config,
        "cpu",
        resume=True,
        listener=TrainingCallbacks(step=lambda done, _: again.append(done)),
        keep_after=0,
    )
    assert again[0] == 3
    assert resumed.digest == whole.digest
    assert [record.train_loss for record in read(tmp_path / "twice" / config.name / HISTORY)] == [
        record.train_loss for record in read(tmp_path / "whole" / config.name / HISTORY)
    ]


def test_faces_of_another_origin_are_held_back_too(tmp_path: Path) -> None:
    first, second = (made_faceset(tmp_path / name, {"train": 60}) for name in ("first", "second"))
    kept, held = carve_dev(read_split(second, "train", luma=True), 0.3, OTHERS)
    assert 5 < len(held) < 40
    assert set(held.ids) != set(carve_dev(read_split(second, "train", luma=True), 0.3)[1].ids)
    whole, _, _ = _parts(Sources((first, second)), RUN, "cpu")
    part, judge, unlike = _parts(Sources((first, second)), replace(RUN, dev_share_others=0.3), "cpu")
    assert len(part) <= len(whole) - len(held)
    assert len(kept) + len(held) == 60
    assert len(judge.classes) <= 60
    assert [len(one.classes) for one in unlike] == [len(held)]
    assert "dev_share_others" not in QUICK.to_json()
