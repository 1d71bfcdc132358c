import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fer_core.errors import TrainingError
from fer_core.evaluation import training_history
from fer_core.evaluation.evaluate import evaluate
from fer_core.evaluation.training_history import EpochRecord
from fer_core.faceset import FaceSetCard, carve_dev, faceset_digest, read_card, read_split, write_card, write_split
from fer_core.labels import EXPRESSIONS
from fer_core.losses.choice import classifier_of
from fer_core.models.store import WEIGHTS, ModelRef, load_model, resolve_model
from fer_core.predict.predictor import load_predictor
from fer_core.training.config import TrainConfig
from fer_core.training.train import CURVES, EVENTS, HISTORY, SILENT, STATE, Sources, TrainingCallbacks, train
from tests.support.made_faces import QUICK, SMALL, encoded, faces, made_faceset

SHORT = replace(QUICK, epochs=3, name="short")
SMALL_SIZES = {name: value for name, value in SMALL.to_json().items() if name != "classifier"}


def trained(faceset: Path, to: Path, config: TrainConfig, resume: bool = False, listener: TrainingCallbacks = SILENT) -> ModelRef:
    """On one set and the CPU."""
    return train(Sources((faceset,)), to, config, "cpu", resume, listener)


def told(records: list[EpochRecord]) -> TrainingCallbacks:
    return TrainingCallbacks(records.append)


@pytest.fixture(scope="module")
def faceset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_faceset(tmp_path_factory.mktemp("faceset"), {"train": 128})


@pytest.fixture(scope="module")
def short(faceset: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """A short run that nothing disturbs."""
    return trained(faceset, tmp_path_factory.mktemp("short"), SHORT)


def test_learns_drawn_faces(tmp_path: Path) -> None:
    faceset = made_faceset(tmp_path / "faceset", {"train": 320, "valid": 96})
    reports: list[EpochRecord] = []
    ref = trained(faceset, tmp_path, QUICK, listener=told(reports))
    assert [r.epoch for r in reports] == list(range(1, QUICK.epochs + 1))
    assert reports[-1].train_loss < 0.6 * reports[0].train_loss
    assert reports[-1].dev_loss < reports[0].dev_loss
    result = evaluate(faceset, str(ref.path), "valid", "majority")
    assert result.accuracy > 0.6  # chance is 1 / 8
    assert result.ece < 0.25
    development = ref.card["development"]
    best = max(reports, key=lambda r: (r.dev_accuracy, -r.dev_loss))
    assert development["epoch"] == best.epoch
    assert development["accuracy"] == pytest.approx(best.dev_accuracy, abs=0.05)  # the temperature weighs evidence against the prior
    assert 40 < development["faces"] < 100


def test_card_says_what_it_was_trained_on(faceset: Path, short: ModelRef) -> None:
    assert short.card["name"] == "short"
    assert [FaceSetCard.from_json(card) for card in short.card["trained_on"]] == [read_card(faceset)]
    assert short.card["sources"] == {"facesets": [faceset_digest(faceset)], "teachers": [], "start": None}
    assert TrainConfig.from_json(short.card["training"]) == SHORT
    _, spec = load_model(short)
    assert 0.05 <= spec.temperature <= 20
    assert spec.flip


def test_same_seed_same_weights_other_seed_others(faceset: Path, short: ModelRef, tmp_path: Path) -> None:
    torch.manual_seed(12345)  # what ran before must not matter
    assert trained(faceset, tmp_path / "again", SHORT).digest == short.digest
    assert trained(faceset, tmp_path / "other", replace(SHORT, seed=2)).digest != short.digest


class InterruptedRunError(Exception):
    """Stands for whatever ends a process."""


def test_interrupted_run_ends_with_the_same_weights(faceset: Path, short: ModelRef, tmp_path: Path) -> None:
    def stop(report: EpochRecord) -> None:
        if report.epoch == 2:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        trained(faceset, tmp_path, SHORT, listener=TrainingCallbacks(stop))
    assert not (tmp_path / "short" / WEIGHTS).exists()
    torch.manual_seed(999)
    seen: list[EpochRecord] = []
    ref = trained(faceset, tmp_path, SHORT, resume=True, listener=told(seen))
    assert [r.epoch for r in seen] == [3]
    assert ref.digest == short.digest
    assert [r.epoch for r in training_history.read(tmp_path / "short" / HISTORY)] == [1, 2, 3]


KILLED = """
import sys, time
from pathlib import Path
from typing import Any
from tests.unit.fer_core.training.test_train import SHORT, TrainingCallbacks, trained
def wait(record):
    print(record.epoch, flush=True)
    if record.epoch == 1: time.sleep(60)
trained(Path(sys.argv[1]), Path(sys.argv[2]), SHORT, listener=TrainingCallbacks(wait))
"""


def test_killed_process_is_resumed_bit_for_bit(faceset: Path, short: ModelRef, tmp_path: Path) -> None:
    repository = Path(__file__).parents[4]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    with subprocess.Popen([sys.executable, "-c", KILLED, faceset, tmp_path], stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert trained(faceset, tmp_path, SHORT, resume=True).digest == short.digest


def test_resuming_a_finished_run_gives_the_same_model(faceset: Path, short: ModelRef) -> None:
    seen: list[EpochRecord] = []
    again = trained(faceset, short.path.parent, SHORT, resume=True, listener=told(seen))
    assert seen == []
    assert again.digest == short.digest


def test_figures_on_a_card_outlive_resuming_but_not_other_weights(faceset: Path, tmp_path: Path) -> None:
    once = replace(SHORT, epochs=1)
    ref = trained(faceset, tmp_path, once)
    (ref.path / "card.json").write_text(json.dumps({**ref.card, "figures": {"majority": {}}}))
    assert trained(faceset, tmp_path, once, resume=True).card == {**ref.card, "figures": {"majority": {}}}
    assert "figures" not in trained(faceset, tmp_path, replace(once, seed=5)).card


def test_resume_with_nothing_there_starts_anew(faceset: Path, short: ModelRef, tmp_path: Path) -> None:
    assert trained(faceset, tmp_path, SHORT, resume=True).digest == short.digest


def test_another_configuration_is_not_resumed(faceset: Path, short: ModelRef) -> None:
    with pytest.raises(TrainingError, match="another configuration"):
        trained(faceset, short.path.parent, replace(SHORT, learning_rate=0.01), resume=True)


def test_another_face_set_is_not_resumed(faceset: Path, short: ModelRef, tmp_path: Path) -> None:
    other = made_faceset(tmp_path / "other", {"train": 128}, colour=True)
    with pytest.raises(TrainingError, match="another face set"):
        trained(other, short.path.parent, SHORT, resume=True)


def test_best_averaged_weights_ship(short: ModelRef) -> None:
    state, shipped = load_file(short.path / f"{STATE}.safetensors"), load_file(short.path / WEIGHTS)
    assert torch.equal(shipped["centers"], state["best.centers"])
    assert not torch.equal(shipped["centers"], state["network.centers"])


def test_early_stop(faceset: Path, tmp_path: Path) -> None:
    seen: list[EpochRecord] = []
    stuck = replace(SHORT, learning_rate=1e-12, epochs=50, patience=2, average=0.0)
    ref = trained(faceset, tmp_path, stuck, listener=told(seen))
    accuracies = [r.dev_accuracy for r in seen]
    best = ref.card["development"]["epoch"]
    assert len(seen) == best + 2 < 50
    assert max(accuracies) == accuracies[best - 1]


def test_pictures_of_a_run(short: ModelRef) -> None:
    assert (short.path / CURVES).read_bytes().startswith(b"\x89PNG")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(short.path / EVENTS))
    log.Reload()
    records = training_history.read(short.path / HISTORY)
    assert [e.step for e in log.Scalars("dev/accuracy")] == [1, 2, 3]
    assert [e.value for e in log.Scalars("dev/accuracy")] == pytest.approx([r.dev_accuracy for r in records])


BARE = """
import sys
for name in "tensorboardX matplotlib prefect distributed dask rich duckdb fsspec s3fs insightface skimage psutil".split():
    sys.modules[name] = None
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in sys.modules and sys.modules[name] is None else found(name, package)
from flows.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_machine_that_only_trains_needs_little(faceset: Path, short: ModelRef, tmp_path: Path) -> None:
    """torch, NumPy, OpenCV, PyArrow and safetensors are enough, also for the command."""
    (tmp_path / "short.json").write_text(json.dumps(SHORT.to_json()))
    options = ["--to", str(tmp_path), "--config", str(tmp_path / "short.json"), "--device", "cpu", "--json"]
    command = [sys.executable, "-c", BARE, "train", str(faceset), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["digest"] == short.digest
    assert not (tmp_path / "short" / CURVES).exists()


def test_steps_are_told(faceset: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    trained(faceset, tmp_path, replace(SHORT, epochs=1), listener=TrainingCallbacks(step=lambda done, all_of: steps.append((done, all_of))))
    assert steps == [(i + 1, len(steps)) for i in range(len(steps))]
    assert len(steps) == 3


def test_half_precision(faceset: Path, short: ModelRef, tmp_path: Path) -> None:
    ref = trained(faceset, tmp_path, replace(SHORT, half=True))
    whole, half = load_file(short.path / WEIGHTS), load_file(ref.path / WEIGHTS)
    assert all(tensor.dtype == torch.float16 for tensor in half.values())
    assert all(torch.equal(half[name], tensor.half()) for name, tensor in whole.items())
    network, spec = load_model(ref)
    assert next(network.parameters()).dtype == torch.float32
    assert spec.temperature == pytest.approx(load_model(short)[1].temperature, rel=0.05)


def test_bf16_passes_learn_too(tmp_path: Path) -> None:
    faceset = made_faceset(tmp_path / "faceset", {"train": 256})
    seen: list[EpochRecord] = []
    trained(faceset, tmp_path, replace(QUICK, precision="bf16"), listener=told(seen))
    assert seen[-1].train_loss < 0.75 * seen[0].train_loss


@pytest.mark.parametrize("kind", ["cross_entropy", "center", "cosface", "island"])
def test_other_losses_learn_and_their_models_label(tmp_path: Path, kind: str) -> None:
    faceset = made_faceset(tmp_path / "faceset", {"train": 256})
    config = TrainConfig.from_json(
        {**QUICK.to_json(), "epochs": 8, "loss": {"kind": kind}, "network": {**SMALL_SIZES, "classifier": classifier_of(kind)}}
    )
    seen: list[EpochRecord] = []
    ref = trained(faceset, tmp_path, config, listener=told(seen))
    assert seen[-1].train_loss < seen[0].train_loss
    assert seen[-1].dev_accuracy > 0.4  # chance is 1 / 8
    assert ref.card["training"]["loss"]["kind"] == kind
    assert np.allclose(load_predictor(str(ref.path), "cpu").probabilities(faces(3)).sum(1), 1)


def test_sharpness_aware_run_learns(tmp_path: Path) -> None:
    faceset = made_faceset(tmp_path / "faceset", {"train": 256})
    seen: list[EpochRecord] = []
    trained(faceset, tmp_path, replace(QUICK, epochs=4, sam_radius=0.05), listener=told(seen))
    assert seen[-1].train_loss < 0.8 * seen[0].train_loss


@pytest.mark.parametrize("head", [{}, {"affine": False, "class_bias": True, "logit_scale": 8.0}])
def test_start_from_a_model(faceset: Path, short: ModelRef, tmp_path: Path, head: dict[str, Any]) -> None:
    """Features and centers are its own. Where the head differs, a norm without scale and bias and a class bias begin anew."""
    still = replace(SHORT, epochs=1, learning_rate=1e-9, average=0.0, network=replace(SHORT.network, **head))
    ref = train(Sources((faceset,), start=short), tmp_path, still, "cpu")
    assert ref.card["sources"]["start"] == short.digest
    ours, theirs = load_file(ref.path / WEIGHTS), load_file(short.path / WEIGHTS)
    assert set(ours) ^ set(theirs) == ({"class_bias", "norm.weight", "norm.bias"} if head else set())
    kept = {name for name in set(ours) & set(theirs) if "running" not in name}
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in kept)


def test_start_from_another_network(faceset: Path, short: ModelRef, tmp_path: Path) -> None:
    other = replace(SHORT, network=replace(SHORT.network, embedding=8))
    with pytest.raises(TrainingError, match="cannot start from"):
        train(Sources((faceset,), start=short), tmp_path, other, "cpu")


def test_teachers_change_what_is_learnt(faceset: Path, short: ModelRef, tmp_path: Path) -> None:
    ref = train(Sources((faceset,), teachers=(short,)), tmp_path, SHORT, "cpu")
    assert ref.card["sources"]["teachers"] == [short.digest]
    assert ref.digest != short.digest


def test_several_sets(faceset: Path, short: ModelRef, tmp_path: Path) -> None:
    """The second set's faces are learnt from, the first one's alone judge; pictures held out anywhere are not trained on."""
    other = made_faceset(tmp_path / "other", {"train": 96, "valid": 64}, "single", colour=True, classes=EXPRESSIONS[:7])
    steps: list[int] = []
    ref = train(
        Sources((faceset, other)), tmp_path, replace(SHORT, epochs=1), "cpu", listener=TrainingCallbacks(step=lambda d, n: steps.append(n))
    )
    assert ref.card["development"]["faces"] == short.card["development"]["faces"]
    assert len(ref.card["trained_on"]) == 2
    rest, dev = carve_dev(read_split(faceset, "train"), SHORT.dev_share)
    held_out = {*dev.pictures, *read_split(other, "valid").pictures}  # drawn faces of one number count as one picture
    learnt = [p for p in (*rest.pictures, *read_split(other, "train").pictures) if p not in held_out]
    assert 0 < len(learnt) < len(rest) + 96
    assert steps[0] == len(learnt) // SHORT.batch


TORCHRUN = """
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from tests.support.made_faces import QUICK
from fer_core.training.train import Sources, train
train(Sources((Path(sys.argv[1]),)), Path(sys.argv[2]), replace(QUICK, epochs=3, name="short"), "cpu")
"""


def test_two_processes_train_one_model(faceset: Path, short: ModelRef, tmp_path: Path) -> None:
    script = tmp_path / "together.py"
    script.write_text(TORCHRUN)
    repository = Path(__file__).parents[4]
    environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script, faceset, tmp_path]
    subprocess.run(command, env=environment, check=True, timeout=280, capture_output=True)
    records = training_history.read(tmp_path / "short" / HISTORY)
    assert [r.epoch for r in records] == [1, 2, 3]  # one process writes
    alone = training_history.read(short.path / HISTORY)
    assert records[-1].train_loss == pytest.approx(alone[-1].train_loss, rel=0.5)
    assert records[-1].train_loss < records[0].train_loss
    assert resolve_model(str(tmp_path / "short")).digest != short.digest  # each augments its own half


def test_too_few_faces(tmp_path: Path) -> None:
    faceset = made_faceset(tmp_path / "few", {"train": 20})
    with pytest.raises(TrainingError, match="too few faces"):
        trained(faceset, tmp_path / "models", QUICK)
    with pytest.raises(TrainingError, match="too few faces"):  # none held back
        trained(faceset, tmp_path / "models", replace(QUICK, batch=2, dev_share=0.0))
    assert not (tmp_path / "models").exists()


def test_nobody_agrees_on_the_held_back_faces(tmp_path: Path) -> None:
    rows = [{"sample_id": str(i), "group": str(i), "votes_fear": 1, "votes_anger": 1, "crop": b""} for i in range(40)]
    picture = encoded(faces(1)[0])
    write_split(tmp_path, "train", ({**row, "crop": picture} for row in rows))
    write_card(tmp_path, FaceSetCard("made", "votes", EXPRESSIONS, "drawn", {"train": 40}, 0, 1.0))
    with pytest.raises(TrainingError, match="0 held back"):
        trained(tmp_path, tmp_path / "models", replace(QUICK, batch=8))


def test_coloured_faces_and_single_labels_of_a_seven_class_set(tmp_path: Path) -> None:
    faceset = made_faceset(tmp_path / "set", {"train": 70}, "single", colour=True, classes=EXPRESSIONS[:7])
    ref = trained(faceset, tmp_path, replace(QUICK, epochs=1, batch=16))
    assert load_predictor(str(ref.path), "cpu").probabilities(faces(3, colour=True)).shape == (3, 8)


def test_clock_is_told(faceset: Path, tmp_path: Path) -> None:
    start, seconds = time.monotonic(), []
    trained(faceset, tmp_path, replace(SHORT, epochs=1), listener=TrainingCallbacks(lambda r: seconds.append(r.seconds)))
    assert 0 < seconds[0] <= time.monotonic() - start
