"""The teacher of another kind, without its network: what it learns from and what it writes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.accuracy import imagenet_teacher
from fer_core.errors import TrainingError
from fer_core.faceset import read_split
from fer_core.labels import EXPRESSIONS
from fer_core.training.dataset import training_data
from fer_core.training.optimizer import update_average
from fer_core.training.teacher import AnswerTable
from tests.support.made_faces import made_faceset


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = tmp_path_factory.mktemp("sets")
    votes = made_faceset(place / "votes", {"train": 24})
    return [votes, made_faceset(place / "single", {"train": 12}, "single"), made_faceset(place / "noisy", {"train": 8}, "single")]


def test_single_labels_count_twice_and_noisy_ones_once(folders: list[Path]) -> None:
    crops, targets, pictures = imagenet_teacher.material(folders, folders[2:])
    assert len(crops) == len(targets) == len(pictures) == 24 + 2 * 12 + 8
    assert np.allclose(targets.sum(1), 1)
    assert targets[24:48].max() == pytest.approx(1 - 0.15 + 0.15 / 8)
    assert targets[48:].max() == pytest.approx(1 - 0.3 + 0.3 / 8)
    assert pictures[24:36] == pictures[36:48]


def test_its_table_is_one_that_a_training_reads(folders: list[Path], tmp_path: Path) -> None:
    _, _, pictures = imagenet_teacher.material(folders[1:2], [])
    said = np.random.default_rng(0).dirichlet(np.ones(len(EXPRESSIONS)), len(pictures)).astype(np.float32)
    imagenet_teacher.write(pictures, said, tmp_path / "answers.parquet")
    own = training_data(read_split(folders[1], "train", luma=True), 0.1, 0.0)
    found = AnswerTable.of(tmp_path / "answers.parquet").answers(own)
    assert np.allclose(found, said[[pictures.index(picture) for picture in own.pictures]], atol=1e-6)


class Small(torch.nn.Module):
    """In place of the network, which is no part of the environment."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = torch.nn.BatchNorm2d(1), torch.nn.Linear(49, len(EXPRESSIONS))

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        return self.head(torch.nn.functional.avg_pool2d(self.norm(faces / 255), 16).flatten(1))


class KilledError(Exception):
    pass


def test_it_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its last checkpoint, amid an epoch; the checkpoint of another run is refused."""
    monkeypatch.setattr(imagenet_teacher, "Lite", Small)
    monkeypatch.setattr(imagenet_teacher, "KEEP_EVERY", 3)
    drawn = np.random.default_rng(0)
    crops = drawn.integers(0, 256, (128, 112, 112), np.uint8)
    targets = drawn.dirichlet(np.ones(len(EXPRESSIONS)), 128).astype(np.float32)
    whole = imagenet_teacher.train(crops, targets, tmp_path / "whole", 0, 3, ["a"])
    calls = iter(range(4))

    def killed(*arguments: object) -> None:
        if next(calls) == 3:
            raise KilledError
        update_average(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(imagenet_teacher, "update_average", killed)
    with pytest.raises(KilledError):
        imagenet_teacher.train(crops, targets, tmp_path / "parts", 0, 3, ["a"])
    monkeypatch.setattr(imagenet_teacher, "update_average", update_average)
    parts = imagenet_teacher.train(crops, targets, tmp_path / "parts", 0, 3, ["a"])
    assert all(torch.equal(one, other) for one, other in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True))
    with pytest.raises(TrainingError, match="belongs to another"):
        imagenet_teacher.train(crops, targets, tmp_path / "parts", 0, 3, ["b"])
