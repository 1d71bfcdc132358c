import argparse
import json
import subprocess
from pathlib import Path

import pytest

from benchmarks.accuracy import ablation
from benchmarks.accuracy.ablation import Cell, cells
from fer_core.models.network import MultiscaleNet
from fer_core.models.store import save_model
from fer_core.training.config import TrainConfig
from tests.support.made_faces import SMALL, small_spec


def test_cells_have_folders_of_their_own() -> None:
    everything = cells("all", 3)
    assert len({cell.name for cell in everything}) == len(everything) == 5 * 3 * 3
    assert set(cells("cross", 1)) < set(everything)


def test_what_is_done_is_not_done_again_and_never_passed_off_as_another_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell("center", "multiscale", 1)
    calls: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: calls.append(command))
    args = argparse.Namespace(to=tmp_path, network="tiny", epochs=6, jobs=1, device="cpu", base=None)
    ablation._train(cell, tmp_path / "faces", args)
    assert len(calls) == 1
    written = TrainConfig.from_json(json.loads((tmp_path / f"{cell.name}.json").read_text()))
    assert written.network.classifier == "linear"
    save_model(tmp_path / cell.name, MultiscaleNet(SMALL).state_dict(), small_spec(), {"name": cell.name, "training": written.to_json()})
    ablation._train(cell, tmp_path / "faces", args)
    assert len(calls) == 1
    with pytest.raises(SystemExit, match="trained in another way"):
        ablation._train(cell, tmp_path / "faces", argparse.Namespace(**{**vars(args), "epochs": 7}))
