import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_faces import QUICK, encoded, faces, made_faceset
from safetensors.torch import load_file

from fer_core.errors import TrainingError
from fer_core.evaluate import evaluate
from fer_core.faceset import FaceSetCard, read_card, write_card, write_split
from fer_core.labels import EXPRESSIONS
from fer_core.models import WEIGHTS, ModelRef, load_model
from fer_core.network import TINY
from fer_core.predict import load_predictor
from fer_core.train import STATE, EpochReport, TrainConfig, rate, train

SHORT = replace(QUICK, epochs=3, name="short")


@pytest.fixture(scope="module")
def faceset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_faceset(tmp_path_factory.mktemp("faceset"), {"train": 128})


@pytest.fixture(scope="module")
def short(faceset: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """A short run that nothing disturbs."""
    return train(faceset, tmp_path_factory.mktemp("short"), SHORT, "cpu")


def test_learns_drawn_faces(tmp_path: Path) -> None:
    faceset = made_faceset(tmp_path / "faceset", {"train": 480, "valid": 160})
    reports: list[EpochReport] = []
    ref = train(faceset, tmp_path, QUICK, "cpu", report=reports.append)
    assert [r.epoch for r in reports] == list(range(1, QUICK.epochs + 1))
    assert reports[-1].loss < 0.6 * reports[0].loss
    result = evaluate(faceset, str(ref.path), "valid", "majority")
    assert result.accuracy > 0.6  # chance is 1 / 8
    assert result.ece < 0.25
    development = ref.card["development"]
    assert development["accuracy"] == pytest.approx(reports[-1].dev_accuracy)
    assert 60 < development["faces"] < 140


def test_card_says_what_it_was_trained_on(faceset: Path, short: ModelRef) -> None:
    assert short.card["name"] == "short"
    assert FaceSetCard.from_json(short.card["trained_on"]) == read_card(faceset)
    assert TrainConfig.from_json(short.card["training"]) == SHORT
    _, spec = load_model(short)
    assert 0.05 <= spec.temperature <= 20
    assert spec.flip


def test_same_seed_same_weights_other_seed_others(faceset: Path, short: ModelRef, tmp_path: Path) -> None:
    torch.manual_seed(12345)  # what ran before must not matter
    assert train(faceset, tmp_path / "again", SHORT, "cpu").digest == short.digest
    assert train(faceset, tmp_path / "other", replace(SHORT, seed=2), "cpu").digest != short.digest


class InterruptedRunError(Exception):
    """Stands for whatever ends a process."""


def test_interrupted_run_ends_with_the_same_weights(faceset: Path, short: ModelRef, tmp_path: Path) -> None:
    def stop(report: EpochReport) -> None:
        if report.epoch == 2:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        train(faceset, tmp_path, SHORT, "cpu", report=stop)
    assert not (tmp_path / "short" / WEIGHTS).exists()
    torch.manual_seed(999)
    seen: list[int] = []
    ref = train(faceset, tmp_path, SHORT, "cpu", resume=True, report=lambda r: seen.append(r.epoch))
    assert seen == [3]
    assert ref.digest == short.digest


KILLED = """
import sys, time
from pathlib import Path
import torch
from test_train import SHORT
from fer_core.train import train
def report(epoch):
    print(epoch.epoch, flush=True)
    if epoch.epoch == 1: time.sleep(60)
train(Path(sys.argv[1]), Path(sys.argv[2]), SHORT, "cpu", report=report)
"""


def test_killed_process_is_resumed_bit_for_bit(faceset: Path, short: ModelRef, tmp_path: Path) -> None:
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(here), str(here.parent)))}
    with subprocess.Popen([sys.executable, "-c", KILLED, faceset, tmp_path], stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert train(faceset, tmp_path, SHORT, "cpu", resume=True).digest == short.digest


def test_resuming_a_finished_run_gives_the_same_model(faceset: Path, short: ModelRef) -> None:
    seen: list[int] = []
    again = train(faceset, short.path.parent, SHORT, "cpu", resume=True, report=lambda r: seen.append(r.epoch))
    assert seen == []
    assert again.digest == short.digest


def test_resume_with_nothing_there_starts_anew(faceset: Path, short: ModelRef, tmp_path: Path) -> None:
    assert train(faceset, tmp_path, SHORT, "cpu", resume=True).digest == short.digest


def test_another_configuration_is_not_resumed(faceset: Path, short: ModelRef) -> None:
    with pytest.raises(TrainingError, match="another configuration"):
        train(faceset, short.path.parent, replace(SHORT, learning_rate=0.01), "cpu", resume=True)


def test_averaged_weights_ship(short: ModelRef) -> None:
    state, shipped = load_file(short.path / f"{STATE}.safetensors"), load_file(short.path / WEIGHTS)
    assert torch.equal(shipped["centers"], state["average.centers"])
    assert not torch.equal(shipped["centers"], state["network.centers"])


def test_too_few_faces(tmp_path: Path) -> None:
    faceset = made_faceset(tmp_path / "few", {"train": 20})
    with pytest.raises(TrainingError, match="too few faces"):
        train(faceset, tmp_path / "models", QUICK, "cpu")
    with pytest.raises(TrainingError, match="too few faces"):  # none held back
        train(faceset, tmp_path / "models", replace(QUICK, batch=2, dev_share=0.0), "cpu")
    assert not (tmp_path / "models").exists()


def test_nobody_agrees_on_the_held_back_faces(tmp_path: Path) -> None:
    rows = [{"sample_id": str(i), "group": str(i), "votes_fear": 1, "votes_anger": 1, "crop": b""} for i in range(40)]
    picture = encoded(faces(1)[0])
    write_split(tmp_path, "train", ({**row, "crop": picture} for row in rows))
    write_card(tmp_path, FaceSetCard("made", "votes", EXPRESSIONS, "drawn", {"train": 40}, 0, 1.0))
    with pytest.raises(TrainingError, match="0 held back"):
        train(tmp_path, tmp_path / "models", replace(QUICK, batch=8), "cpu")


def test_coloured_faces_and_single_labels_of_a_seven_class_set(tmp_path: Path) -> None:
    faceset = made_faceset(tmp_path / "set", {"train": 70}, "single", colour=True, classes=EXPRESSIONS[:7])
    ref = train(faceset, tmp_path, replace(QUICK, epochs=1, batch=16), "cpu")
    assert load_predictor(str(ref.path), "cpu").probabilities(faces(3, colour=True)).shape == (3, 8)


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_learning_rate(epochs: int) -> None:
    rates = np.array([rate(step, 10, epochs) for step in range(10 * epochs)])
    assert rates.max() == 1
    assert (rates > 0).all()
    assert (np.diff(rates[:10]) > 0).all()
    assert (np.diff(rates[10:]) < 0).all()
    if epochs > 1:
        assert rates[-1] < 0.1


def test_config_survives_json() -> None:
    for config in (TrainConfig(), SHORT):
        assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_config_may_be_partial() -> None:
    config = TrainConfig.from_json({"epochs": 5, "network": {"stem": 16}, "loss": {"margin": 0.3}})
    assert config == replace(TrainConfig(), epochs=5, network=replace(TINY, stem=16), loss=replace(TrainConfig().loss, margin=0.3))
    assert TrainConfig.from_json({}) == TrainConfig()


@pytest.mark.parametrize(
    "value",
    [{"strange": 1}, {"network": {"strange": 1}}, {"loss": {"strange": 1}}, {"augment": {"strange": 1}}, {"network": 5}, {"loss": 5}, [1]],
)
def test_wrong_config(value: object) -> None:
    with pytest.raises(TrainingError, match="wrong entry"):
        TrainConfig.from_json(value)  # type: ignore[arg-type]


def test_clock_is_told(faceset: Path, tmp_path: Path) -> None:
    start, seconds = time.monotonic(), []
    train(faceset, tmp_path, replace(SHORT, epochs=1), "cpu", report=lambda r: seconds.append(r.seconds))
    assert 0 < seconds[0] <= time.monotonic() - start
