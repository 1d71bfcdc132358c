import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fer_core.errors import ModelError
from fer_core.hashing import file_sha256
from fer_core.models.network import MultiscaleNet
from fer_core.models.store import CARD, DEFAULT, WEIGHTS, ModelRef, ModelSpec, load_model, resolve_model, shipped_names
from tests.support.made_faces import SMALL, small_model, small_spec


@pytest.fixture
def ref(tmp_path: Path) -> ModelRef:
    return small_model(tmp_path / "a model")


def refused(ref: ModelRef, match: str) -> None:
    with pytest.raises(ModelError, match=match) as caught:
        load_model(resolve_model(str(ref.path)))
    assert "\n" not in str(caught.value)


def promise(ref: ModelRef) -> None:
    """Make the card name the weights as they are now."""
    card = {**ref.card, "digest": file_sha256(ref.path / WEIGHTS)}
    (ref.path / CARD).write_text(json.dumps(card), encoding="utf-8")


def content(ref: ModelRef) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(ref.path / WEIGHTS, framework="pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118


def rewrite(ref: ModelRef, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None) -> None:
    save_file(tensors, ref.path / WEIGHTS, metadata=metadata)
    promise(ref)


def test_round_trip(ref: ModelRef) -> None:
    network, spec = load_model(resolve_model(str(ref.path)))
    torch.manual_seed(0)
    expected = MultiscaleNet(SMALL).state_dict()
    assert spec == small_spec()
    assert not network.training
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())
    assert ref.digest == file_sha256(ref.path / WEIGHTS)
    assert not list(ref.path.glob("*.partial"))


def test_same_weights_same_digest(ref: ModelRef, tmp_path: Path) -> None:
    assert small_model(tmp_path / "other").digest == ref.digest
    assert small_model(tmp_path / "warmer", temperature=0.6).digest != ref.digest  # what changes answers changes the digest


def test_spec_survives_json() -> None:
    assert ModelSpec.from_json(json.loads(json.dumps(small_spec().to_json()))) == small_spec()


@pytest.mark.parametrize("place", [10, 200, -1])
def test_one_flipped_byte(ref: ModelRef, place: int) -> None:
    file = ref.path / WEIGHTS
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    refused(ref, "damaged or changed")


def test_truncated(ref: ModelRef) -> None:
    file = ref.path / WEIGHTS
    file.write_bytes(file.read_bytes()[:-100])
    refused(ref, "damaged or changed")
    promise(ref)
    refused(ref, "do not fit")


def test_no_weights(ref: ModelRef) -> None:
    (ref.path / WEIGHTS).unlink()
    refused(ref, "has no weights.safetensors")


def test_wrong_shape(ref: ModelRef) -> None:
    tensors, metadata = content(ref)
    rewrite(ref, {**tensors, "centers": torch.zeros(8, 15)}, metadata)
    refused(ref, "do not fit")


def test_missing_tensor(ref: ModelRef) -> None:
    tensors, metadata = content(ref)
    del tensors["centers"]
    rewrite(ref, tensors, metadata)
    refused(ref, "do not fit")


def test_foreign_tensor(ref: ModelRef) -> None:
    tensors, metadata = content(ref)
    rewrite(ref, {**tensors, "strange": torch.zeros(1)}, metadata)
    refused(ref, "do not fit")


RANGES: dict[str, Any] = {layer: [0, 1.5] for layer in SMALL.activations()}


def test_ranges_outlive_the_disk(ref: ModelRef) -> None:
    rewrite(ref, content(ref)[0], {"spec": json.dumps(changed_spec(ranges=RANGES))})
    _, spec = load_model(resolve_model(str(ref.path)))
    assert spec.ranges == dict.fromkeys(SMALL.activations(), (0.0, 1.5))
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert "ranges" not in small_spec().to_json()  # as models of earlier releases are described


def changed_spec(**changes: Any) -> dict[str, Any]:
    spec = small_spec().to_json()
    network = {name: changes.pop(name) for name in list(changes) if name in spec["network"]}
    return {**spec, **changes, "network": {**spec["network"], **network}}


@pytest.mark.parametrize(
    "spec",
    [
        None,
        "not json",
        "[]",
        "{}",
        *(
            json.dumps(changed_spec(**changes))
            for changes in (
                {"strange": 1},
                {"temperature": 0},
                {"temperature": "warm"},
                {"temperature": float("nan")},
                {"review": {"confidence": 2, "entropy": 0.9}},
                {"review": {"confidence": 0.5}},
                {"review": 0.5},
                {"embedding": 17},
                {"taps": [0, 5]},
                {"widths": [8]},
                {"dropout": 7},
                {"stem": "many"},
                {"classes": 8},
                {"ranges": None},
                {"ranges": {}},
                {"ranges": [0, 1]},
                {"ranges": {layer: [0, 1] for layer in SMALL.activations()[1:]}},
                *({"ranges": {**RANGES, "stem": pair}} for pair in ([0], [0, 0], [1, 2], [0, 1e39], "01", [0, True], [0, float("nan")])),
            )
        ),
    ],
)
def test_weights_that_describe_themselves_wrongly(ref: ModelRef, spec: str | None) -> None:
    rewrite(ref, content(ref)[0], None if spec is None else {"spec": spec})
    refused(ref, "do not fit")


class Trap:
    """Would write a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.file, "executed"))


@pytest.mark.parametrize("with_torch", [False, True])
def test_a_pickle_is_refused_and_not_executed(ref: ModelRef, tmp_path: Path, with_torch: bool) -> None:
    trap, written = Trap(tmp_path / "executed"), ref.path / WEIGHTS
    if with_torch:
        torch.save({"model": trap}, written)
    else:
        written.write_bytes(pickle.dumps(trap))
    promise(ref)
    refused(ref, "do not fit")
    assert not trap.file.exists()


@pytest.mark.parametrize("card", [b"", b"{", b"[]", b"{}", b'{"name": "x"}', b"\xff\xfe\x00", b"null"])
def test_damaged_card(ref: ModelRef, card: bytes) -> None:
    (ref.path / CARD).write_bytes(card)
    refused(ref, "damaged model card")


@pytest.mark.parametrize("name", ["no-such-model", "", ".", "..", "/no/such/place", "~nobody-at-all/model", "x" * 5000, "a\0b", "weights"])
def test_unknown_model(name: str) -> None:
    with pytest.raises(ModelError, match="unknown model") as caught:
        resolve_model(name)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_card_is_no_model(ref: ModelRef) -> None:
    (ref.path / CARD).unlink()
    refused(ref, "unknown model")


def test_relative_path_is_kept_findable(ref: ModelRef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ref.path.parent)
    found = resolve_model("./a model")
    monkeypatch.chdir("/")
    load_model(found)


def test_shipped_models_are_whole() -> None:
    for name in shipped_names():
        ref = resolve_model(name)
        network, _ = load_model(ref)
        assert len(network.config.classes) == 8
        assert (ref.path / WEIGHTS).stat().st_size < 20 * 2**20


def test_reading_a_card_does_not_load_torch(ref: ModelRef) -> None:
    code = "import sys; from fer_core.models.store import resolve_model; resolve_model(sys.argv[1]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, str(ref.path)], cwd=Path(__file__).parents[4], check=False).returncode == 0


def test_saved_where_a_shipped_model_has_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert small_model(Path(DEFAULT)).path == tmp_path / DEFAULT


def test_nowhere_to_save(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match="cannot write the model"):
        small_model(tmp_path / "file" / "model")
