from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fer_core.errors import TrainingError
from fer_core.training import checkpoint
from fer_core.training.checkpoint import Progress, load_checkpoint, save_checkpoint

RUN = {"config": {"epochs": 3, "network": {"widths": (8, 16)}}, "sources": {"facesets": ["abc"], "start": None}}


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {
        "a": value + torch.arange(6.0).view(2, 3),
        "b": (value + torch.arange(72.0)).view(4, 2, 3, 3).to(memory_format=torch.channels_last),
        "c": (value + torch.arange(36.0)).view(4, 1, 3, 3).to(memory_format=torch.channels_last),
        "steps": torch.tensor(int(value)),
    }


def test_round_trip(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "new" / "state", tensors(2.5), Progress(7, 5, 0.8, 0.6), RUN)
    loaded = tensors(0)
    assert load_checkpoint(tmp_path / "new" / "state", loaded, RUN) == Progress(7, 5, 0.8, 0.6)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors(2.5).items())
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["state.safetensors"]


def test_none_yet(tmp_path: Path) -> None:
    loaded = tensors(0)
    assert load_checkpoint(tmp_path / "state", loaded, RUN) == Progress()
    assert torch.equal(loaded["a"], tensors(0)["a"])


def test_the_last_one_counts(tmp_path: Path) -> None:
    for epochs in (1, 2):
        save_checkpoint(tmp_path / "state", tensors(epochs), Progress(epochs), RUN)
    assert load_checkpoint(tmp_path / "state", tensors(0), RUN).epochs == 2


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({**RUN, "config": {"epochs": 4}}, "another configuration"),
        ({**RUN, "sources": {"facesets": ["abd"], "start": None}}, "another face set or model"),
    ],
)
def test_another_run_is_refused_before_anything_is_copied(tmp_path: Path, other: dict[str, object], said: str) -> None:
    save_checkpoint(tmp_path / "state", tensors(1), Progress(1), RUN)
    loaded = tensors(0)
    with pytest.raises(TrainingError, match=said):
        load_checkpoint(tmp_path / "state", loaded, other)
    assert torch.equal(loaded["a"], tensors(0)["a"])


def test_nowhere_to_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match="cannot write the checkpoint"):
        save_checkpoint(tmp_path / "file" / "state", tensors(1), Progress(1), RUN)


def test_cut_off_while_writing(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "state", tensors(1), Progress(1), RUN)
    (tmp_path / "state.partial").write_bytes(b"half of the next one")
    assert load_checkpoint(tmp_path / "state", tensors(0), RUN).epochs == 1


def damaged(tmp_path: Path, into: dict[str, torch.Tensor]) -> None:
    with pytest.raises(TrainingError, match="damaged checkpoint"):
        load_checkpoint(tmp_path / "state", into, RUN)


@pytest.mark.parametrize("kept", [0, 5, 300])
def test_truncated(tmp_path: Path, kept: int) -> None:
    save_checkpoint(tmp_path / "state", tensors(1), Progress(1), RUN)
    file = tmp_path / "state.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    damaged(tmp_path, tensors(0))


def test_without_description(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "state.safetensors")
    damaged(tmp_path, tensors(0))
    save_file({"a": torch.zeros(1)}, tmp_path / "state.safetensors", metadata={"progress": "{}", "identity": "{"})
    damaged(tmp_path, tensors(0))


def test_missing_tensor_wrong_shape_and_wrong_kind(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "state", {"a": torch.zeros(1)}, Progress(1), RUN)
    damaged(tmp_path, {"b": torch.zeros(1)})
    damaged(tmp_path, {"a": torch.zeros(5)})  # not stretched to fit
    damaged(tmp_path, {"a": torch.zeros(1, dtype=torch.int64)})


def test_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path / "state", tensors(1), Progress(1), RUN)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checkpoint, "safe_open", refuse)
    with pytest.raises(TrainingError, match=r"cannot read the checkpoint .*Permission denied"):
        load_checkpoint(tmp_path / "state", tensors(0), RUN)
