"""Two processes that train one model, as torchrun starts them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fer_core.errors import TrainingError
from fer_core.training.distributed import Ranks, init_distributed
from tests.support.made_faces import made_faceset

CPU = torch.device("cpu")

TOGETHER = """
import json, sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
import torch
from tests.support.made_faces import QUICK
from fer_core.training.checkpoint import load_checkpoint, save_checkpoint
from fer_core.faceset import read_split
from fer_core.training.dataset import training_data
from fer_core.training.distributed import init_distributed
from fer_core.training.run import TrainingRun

def digest(run):
    return sha256(b"".join(tensor.contiguous().numpy().tobytes() for tensor in run.tensors().values())).hexdigest()

faceset, folder = Path(sys.argv[1]), Path(sys.argv[2])
learned = training_data(read_split(faceset, "train", luma=True), 0.0, 0.0)
with init_distributed(torch.device("cpu")) as (ranks, device):
    config = replace(QUICK, sam_radius=0.05)
    run = TrainingRun(config, device, ranks, learned)
    losses = [run.epoch(lambda done, steps: None)]
    verdicts = [ranks.broadcast_from_rank0((0.25 + ranks.rank, 1 / 3 + ranks.rank), device)]
    run.judge(*verdicts[0])
    if ranks.first:
        save_checkpoint(folder / "state", run.tensors(), run.progress, {})
    ranks.barrier()
    losses.append(run.epoch(lambda done, steps: None))
    resumed = TrainingRun(config, device, ranks, learned)
    resumed.progress = load_checkpoint(folder / "state", resumed.tensors(), {})
    resumed.epoch(lambda done, steps: None)
    mean = torch.full((5,), float(ranks.rank))
    ranks.average([mean])
    said = {"digest": digest(run), "resumed": digest(resumed), "losses": losses, "verdicts": verdicts, "mean": mean.tolist()}
    (folder / f"{ranks.rank}.json").write_text(json.dumps(said))
    ranks.barrier()
    if ranks.first:
        sys.exit("the disk is full")
    ranks.barrier()
    (folder / "went on").touch()
"""


def torchrun(script: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    file = arguments[-1] / "together.py"
    file.write_text(script)
    repository = Path(__file__).parents[4]
    environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", file, *arguments]
    return subprocess.run(command, env=environment, check=False, timeout=280, capture_output=True, text=True)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Both have trained when one of them fails."""
    folder = tmp_path_factory.mktemp("together")
    return folder, torchrun(TOGETHER, made_faceset(folder / "faceset", {"train": 80}), folder)


def test_processes_stay_one_model_and_resume_exactly(together: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = together
    assert (folder / "1.json").exists(), done.stderr
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second  # every tensor, though each saw other faces
    assert first["resumed"] == first["digest"]
    assert first["verdicts"] == [[0.25, 1 / 3]]
    assert first["mean"] == [0.5] * 5


def test_an_error_in_one_process_ends_all(together: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = together
    assert done.returncode != 0
    assert "the disk is full" in done.stderr
    assert not (folder / "went on").exists()


def test_alone() -> None:
    with init_distributed(CPU) as (ranks, device):
        assert (ranks, device) == (Ranks(), CPU)
    assert ranks.first
    numbers = torch.arange(3.0)
    ranks.average([numbers])
    assert ranks.broadcast_from_rank0((0.1, 2.0), device) == [0.1, 2.0]
    assert numbers.tolist() == [0, 1, 2]


def test_shares_are_the_whole_batch() -> None:
    shares = [Ranks(rank, 3).share(torch.arange(8)).tolist() for rank in range(3)]
    assert sorted(index for share in shares for index in share) == list(range(8))
    assert [len(share) for share in shares] == [3, 3, 2]


def test_more_processes_than_gpus_are_refused_by_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for rank in range(2):
        for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        with pytest.raises(TrainingError, match="more processes than GPUs"), init_distributed(torch.device("cuda")):
            pass
