"""The teacher of another kind, without its network: what it learns from and what it writes."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import imagenet_teacher
from fer_core.faceset import read_split
from fer_core.labels import EXPRESSIONS
from fer_core.training.dataset import training_data
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
