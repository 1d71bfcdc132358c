"""Tables of answers: what another kind of model says of the faces of a set."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_core.errors import TrainingError
from fer_core.faceset import read_split
from fer_core.labels import EXPRESSIONS
from fer_core.training.dataset import TrainingData, distill, training_data
from fer_core.training.teacher import COLUMNS, AnswerTable
from fer_core.training.train import Sources
from flows.cli.main import main
from tests.support.made_faces import made_faceset


@pytest.fixture
def own(tmp_path: Path) -> TrainingData:
    split = read_split(made_faceset(tmp_path / "set", {"train": 16}), "train", luma=True)
    return training_data(split, 0.0, 0.0)


def probabilities(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(len(EXPRESSIONS)), count)


def written(file: Path, pictures: list[str], rows: np.ndarray) -> AnswerTable:
    pq.write_table(pa.table([pictures, *rows.T.astype(np.float32)], names=list(COLUMNS)), file)
    return AnswerTable.of(file)


def test_answers_come_in_the_order_of_the_faces(own: TrainingData, tmp_path: Path) -> None:
    rows, order = probabilities(16), np.random.default_rng(1).permutation(16)
    table = written(tmp_path / "answers.parquet", [own.pictures[i] for i in order], rows[order])
    assert np.allclose(table.answers(own), rows, atol=1e-6)


def test_faces_without_an_answer_keep_their_targets(own: TrainingData, tmp_path: Path) -> None:
    rows = probabilities(16)
    few = written(tmp_path / "few.parquet", [*own.pictures[:4], "another"], np.concatenate([rows[:4], rows[:1]]))
    answers = few.answers(own)
    assert np.isnan(answers[4:]).all()
    mixed = distill(own, [answers], 0.5)
    assert np.allclose(mixed.targets[:4], 0.5 * own.targets[:4].numpy() + 0.5 * rows[:4], atol=1e-6)
    assert np.array_equal(mixed.targets[4:], own.targets[4:])


def test_a_face_takes_the_mean_of_the_teachers_that_know_it(own: TrainingData, tmp_path: Path) -> None:
    one, two = probabilities(16, 1), probabilities(16, 2)
    tables = [
        written(tmp_path / "one.parquet", list(own.pictures), one),
        written(tmp_path / "two.parquet", list(own.pictures[:8]), two[:8]),
    ]
    mixed = distill(own, [table.answers(own) for table in tables], 1.0).targets.numpy()
    assert np.allclose(mixed[:8], (one[:8] + two[:8]) / 2, atol=1e-6)
    assert np.allclose(mixed[8:], one[8:], atol=1e-6)


def test_its_digest_is_part_of_the_run(own: TrainingData, tmp_path: Path) -> None:
    tables = [written(tmp_path / f"{seed}.parquet", list(own.pictures), probabilities(16, seed)) for seed in (1, 2)]
    told = [Sources((tmp_path / "set",), (table,)).to_json()["teachers"] for table in tables]
    assert told == [[tables[0].digest], [tables[1].digest]]
    assert told[0] != told[1]


@pytest.mark.parametrize("change", [{"p_fear": -0.1}, {"p_fear": np.nan}, {"p_fear": 2.0}, {"p_fear": np.inf}])
def test_what_is_no_probability_is_refused(own: TrainingData, tmp_path: Path, change: dict[str, float]) -> None:
    rows = probabilities(16)
    for name, value in change.items():
        rows[3, COLUMNS.index(name) - 1] = value
    table = written(tmp_path / "answers.parquet", list(own.pictures), rows)
    with pytest.raises(TrainingError, match="row 3 of a batch holds no probabilities"):
        table.answers(own)


def test_what_says_two_things_or_nothing_is_refused(own: TrainingData, tmp_path: Path) -> None:
    rows = probabilities(16)
    twice = written(tmp_path / "twice.parquet", [*own.pictures[:15], own.pictures[0]], rows)
    with pytest.raises(TrainingError, match="two rows"):
        twice.answers(own)
    other = written(tmp_path / "other.parquet", [f"x{i}" for i in range(16)], rows)
    with pytest.raises(TrainingError, match="none of its pictures"):
        other.answers(own)
    changed = written(tmp_path / "changed.parquet", list(own.pictures), rows)
    written(tmp_path / "changed.parquet", list(own.pictures), probabilities(16, 5))
    with pytest.raises(TrainingError, match="changed meanwhile"):
        changed.answers(own)


READ_ALONE = """
import sys, tracemalloc
from pathlib import Path
import pyarrow as pa, torch
from fer_core.errors import TrainingError
from fer_core.training.dataset import TrainingData
from fer_core.training.teacher import AnswerTable
one = TrainingData(torch.zeros(1, 1, 112, 112), torch.ones(1, 8) / 8, torch.ones(1), torch.zeros(1, dtype=torch.bool), ("a",))
tracemalloc.start()
try:
    AnswerTable.of(Path(sys.argv[1])).answers(one)
except TrainingError as error:
    print(tracemalloc.get_traced_memory()[1] + pa.default_memory_pool().max_memory(), error)
"""


def test_a_text_that_all_rows_share_is_held_once(tmp_path: Path) -> None:
    """Three kilobytes that would unpack to 1.5 GB. In a process of its own: Arrow's peak is that of the whole process."""
    columns = [pa.array(np.full(3000, 1 / 8, np.float32))] * 8
    texts = pa.DictionaryArray.from_arrays(np.zeros(3000, np.int32), ["x" * 500_000])
    pq.write_table(pa.table([texts, *columns], names=list(COLUMNS)), tmp_path / "bomb.parquet", compression="zstd")
    assert (tmp_path / "bomb.parquet").stat().st_size < 100_000
    command = [sys.executable, "-c", READ_ALONE, str(tmp_path / "bomb.parquet")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[4])
    peak, _, reason = done.stdout.partition(" ")
    assert "none of its pictures" in reason
    assert int(peak) < 200 * 2**20


def test_a_categorical_column_is_text(own: TrainingData, tmp_path: Path) -> None:
    rows = probabilities(16)
    table = pa.table([pa.array(own.pictures).dictionary_encode(), *rows.T.astype(np.float32)], names=list(COLUMNS))
    pq.write_table(table, tmp_path / "answers.parquet")
    assert np.allclose(AnswerTable.of(tmp_path / "answers.parquet").answers(own), rows, atol=1e-6)


def test_other_files_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faces = made_faceset(tmp_path / "set", {"train": 16})
    (tmp_path / "text.parquet").write_text("no table")
    pq.write_table(pa.table({"picture": ["a"]}), tmp_path / "columns.parquet")
    pq.write_table(pa.table([["a"], *[["x"]] * 8], names=list(COLUMNS)), tmp_path / "texts.parquet")
    doubled = pa.table([["a"], *[[0.125]] * 9], names=[*COLUMNS, "p_neutral"])
    pq.write_table(doubled, tmp_path / "doubled.parquet")
    for name in ("absent", "text", "columns", "texts", "doubled"):
        file = tmp_path / f"{name}.parquet"
        assert main(["train", str(faces), "--to", str(tmp_path / "models"), "--teacher", str(file), "--epochs", "1"]) == 1
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1
        assert f"not a table of answers: {file}" in said[0]
