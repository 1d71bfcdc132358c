import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.errors import TrainingError
from fer_core.evaluation.training_history import EpochRecord, append, read

number = st.floats(allow_nan=False, allow_infinity=False)
records = st.builds(EpochRecord, st.integers(1, 9), number, number, number, number, number, number)


def record(epoch: int, loss: float = 1.5) -> EpochRecord:
    return EpochRecord(epoch, loss, 1.25, 0.8, 0.6, 0.1, 12.5)


def written(file: Path, epochs: int) -> Path:
    for epoch in range(1, epochs + 1):
        append(file, record(epoch))
    return file


def test_round_trip(tmp_path: Path) -> None:
    file = written(tmp_path / "a run" / "history.jsonl", 3)
    assert read(file) == [record(1), record(2), record(3)]
    assert [json.loads(line) for line in file.read_text().splitlines()] == [asdict(record(epoch)) for epoch in (1, 2, 3)]


def test_no_file_is_no_history(tmp_path: Path) -> None:
    assert read(tmp_path / "history.jsonl") == []


@settings(deadline=None, max_examples=60)
@given(st.lists(records, max_size=8))
def test_the_last_word_on_an_epoch_stands(tmp_path_factory: pytest.TempPathFactory, given_records: list[EpochRecord]) -> None:
    file = tmp_path_factory.mktemp("history") / "history.jsonl"
    for each in given_records:
        append(file, each)
    expected: list[EpochRecord] = []
    for each in given_records:
        expected = [*(old for old in expected if old.epoch < each.epoch), each]
    assert read(file) == expected


def test_every_way_to_be_torn(tmp_path: Path) -> None:
    data = written(tmp_path / "history.jsonl", 2).read_bytes()
    second = data.index(b"\n") + 1
    torn = tmp_path / "torn.jsonl"
    for length in range(len(data)):
        torn.write_bytes(data[:length])
        kept = [record(1)] if length >= second else []
        assert read(torn) == kept, length
        append(torn, record(2, 9.0))
        assert read(torn) == [*kept, record(2, 9.0)], length
        assert torn.read_bytes().count(b"\n") == len(kept) + 1


def test_a_run_that_begins_again_voids_the_old_one(tmp_path: Path) -> None:
    file = written(tmp_path / "history.jsonl", 5)
    append(file, record(4, 7.0))
    assert [each.epoch for each in read(file)] == [1, 2, 3, 4]
    append(file, record(1, 8.0))
    assert read(file) == [record(1, 8.0)]


def test_a_loss_that_ran_away_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    append(file, replace(record(1), train_loss=float("nan"), dev_loss=float("inf")))
    assert str(read(file)[0].train_loss) == "nan"
    assert read(file)[0].dev_loss == float("inf")


LINE = json.dumps(asdict(record(1)))


@pytest.mark.parametrize(
    "foreign",
    [
        "hello",
        "epoch,loss\n1,2\n",
        "[]\n",
        "{}\n",
        "null\n",
        "\n",
        LINE + "\nsomething\n",
        LINE + "\nsomething",
        LINE.replace("1.5", '"low"') + "\n",
        LINE.replace("1.5", "true") + "\n",
        LINE.replace("1.5", "1" * 400) + "\n",
        LINE.replace('"epoch": 1', '"epoch": 1.0') + "\n",
        LINE.replace('"epoch": 1', '"epoch": 0') + "\n",
        LINE.replace("seconds", "hours") + "\n",
        LINE.replace("}", ', "more": 1}') + "\n",
    ],
)
def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path, foreign: str) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text(foreign)
    with pytest.raises(TrainingError, match="not a training history"):
        read(file)
    with pytest.raises(TrainingError, match="not a training history"):
        append(file, record(2))
    assert file.read_text() == foreign


def test_what_cannot_be_read_or_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="cannot read the history"):
        read(tmp_path)
    with pytest.raises(TrainingError, match=r"cannot (read|write) the history"):
        append(tmp_path / "file" / "history.jsonl", record(1))
