"""One run in one process; what several processes do is in test_ranks."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fer_core.errors import TrainingError
from fer_core.faceset import read_split
from fer_core.models.store import DEFAULT
from fer_core.training.dataset import TrainingData, training_data
from fer_core.training.distributed import Ranks
from fer_core.training.run import TrainingRun, repeatable
from fer_core.training.train import Sources, train
from tests.support.made_faces import QUICK, made_faceset

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def faceset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_faceset(tmp_path_factory.mktemp("faceset"), {"train": 80})


@pytest.fixture(scope="module")
def learned(faceset: Path) -> TrainingData:
    return training_data(read_split(faceset, "train", luma=True), 0.0, 0.0)


def unheard(done: int, steps: int) -> None:
    """Ignores progress."""


@pytest.mark.parametrize("sam_radius", [0.0, 0.05])
def test_weights_that_are_no_numbers(learned: TrainingData, sam_radius: float) -> None:
    run = TrainingRun(replace(QUICK, learning_rate=1e30, sam_radius=sam_radius), CPU, Ranks(), learned)
    with pytest.raises(TrainingError, match="epoch 1 ended with weights that are not finite"):
        run.epoch(unheard)


def test_weights_that_the_last_step_spoils(learned: TrainingData) -> None:
    """Every loss of the epoch is a number."""
    run = TrainingRun(replace(QUICK, batch=80, learning_rate=1e3, weight_decay=1e38), CPU, Ranks(), learned)
    assert run.steps == 1
    with pytest.raises(TrainingError, match="weights that are not finite"):
        run.epoch(unheard)


def test_too_many_processes_for_a_batch(learned: TrainingData) -> None:
    with pytest.raises(TrainingError, match="each needs two faces"):
        TrainingRun(replace(QUICK, batch=7), CPU, Ranks(0, 4), learned)
    TrainingRun(replace(QUICK, batch=8), CPU, Ranks(0, 4), learned)


def test_kernels_that_repeat_on_cuda_only() -> None:
    attentions = (torch.backends.cuda.flash_sdp_enabled, torch.backends.cuda.mem_efficient_sdp_enabled)
    before = [torch.backends.cudnn.deterministic, *(enabled() for enabled in attentions)]
    with repeatable(CPU):
        assert [torch.backends.cudnn.deterministic, *(enabled() for enabled in attentions)] == before
    with repeatable(torch.device("cuda")):
        assert torch.backends.cudnn.deterministic
        assert not any(enabled() for enabled in attentions)
        assert torch.backends.cuda.math_sdp_enabled()
    assert [torch.backends.cudnn.deterministic, *(enabled() for enabled in attentions)] == before


def test_target_that_cannot_be_written(faceset: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match="cannot write a model to"):
        train(Sources((faceset,)), tmp_path / "file", QUICK, "cpu")


def test_model_beside_the_command_that_is_called_like_a_shipped_one(faceset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ref = train(Sources((faceset,)), Path(), replace(QUICK, name=DEFAULT, epochs=1), "cpu")
    assert ref.path == tmp_path / DEFAULT
    assert ref.card["development"]["faces"] < 40
