"""The mean of several models' weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy.mean_weights import mean_weights
from fer_core.errors import UsageError
from fer_core.models.store import ModelRef, load_model, read_weights, resolve_model, save_model


def further(folder: Path, offset: float) -> ModelRef:
    """`tiny` with every weight larger by an offset, trained on another set, with another class bias."""
    tiny = resolve_model("tiny")
    network, spec = load_model(tiny)
    moved = {name: value + offset if value.is_floating_point() else value for name, value in network.state_dict().items()}
    assert spec.prior is not None
    prior = replace(spec.prior, bias=tuple(value + offset for value in spec.prior.bias))
    card = {name: value for name, value in tiny.card.items() if name not in {"digest", "spec"}}
    card["trained_on"] = [{"name": "further", "digests": {"train": "1" * 64}}]
    return save_model(folder, moved, replace(spec, prior=prior), card, half=False)


def test_weights_are_means_by_share(tmp_path: Path) -> None:
    tiny, other = resolve_model("tiny"), further(tmp_path / "further", 0.5)
    mean = mean_weights([tiny, other], [0.25, 0.75], tmp_path / "mean")
    ours, theirs = read_weights(tiny)[0], read_weights(mean)[0]
    assert all(np.allclose(theirs[name], values + 0.375, rtol=2e-3, atol=1e-3) for name, values in ours.items() if values.dtype.kind == "f")
    (_, last), (_, after) = load_model(other), load_model(mean)
    assert after.prior == last.prior
    assert after.ranges is None  # they are of other weights
    assert mean.card["mean_of"] == [{"digest": tiny.digest, "share": 0.25}, {"digest": other.digest, "share": 0.75}]
    assert mean.card["trained_on"] == other.card["trained_on"]
    assert not {"figures", "unseen", "calibration", "development", "weights_of"} & mean.card.keys()


def test_the_mean_of_a_model_and_itself_is_that_model(tmp_path: Path) -> None:
    tiny = resolve_model("tiny")
    mean = mean_weights([tiny, tiny, tiny], None, tmp_path / "mean")
    ours, theirs = read_weights(tiny)[0], read_weights(mean)[0]
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(values, theirs[name]) for name, values in ours.items())


@pytest.mark.parametrize("shares", [[1.0], [0.5, 0.4], [0.5, 0.5, 0.0]])
def test_shares_that_are_none_are_refused(tmp_path: Path, shares: list[float]) -> None:
    tiny = resolve_model("tiny")
    with pytest.raises(UsageError, match="one share a model"):
        mean_weights([tiny, tiny], shares, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
