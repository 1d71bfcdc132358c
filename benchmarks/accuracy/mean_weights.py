"""The mean of several models' weights, of the same network (Wortsman et al., "Model soups", ICML 2022).

    python -m benchmarks.accuracy.mean_weights MODEL FURTHER [FURTHER ...] --to MEAN [--shares 0.3 0.7]

Each FURTHER has learnt from MODEL, or their mean is no network. Then `benchmarks.accuracy.class_prior --model MEAN` fits its answers. Its
class bias and its card are those of the last one.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from fer_core.errors import UsageError
from fer_core.models.store import ModelRef, load_model, resolve_model, save_model


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--shares", type=float, nargs="+", help="of each model; default: the same of all")
    parser.add_argument("--to", type=Path, required=True, help="folder of the mean")
    args = parser.parse_args()
    print(mean_weights([resolve_model(name) for name in args.models], args.shares, args.to).digest)


def mean_weights(models: Sequence[ModelRef], shares: Sequence[float] | None, to: Path) -> ModelRef:
    """Write the mean. UsageError: not one share a model, or their sum is not 1."""
    shares = [1 / len(models)] * len(models) if shares is None else shares
    if len(shares) != len(models) or abs(sum(shares) - 1) > 1e-6:
        raise UsageError("give one share a model, 1 in all")
    loaded = [load_model(model) for model in models]
    states = [network.state_dict() for network, _ in loaded]
    last = states[-1]
    mean = {name: _mean([state[name] for state in states], shares) if value.is_floating_point() else value for name, value in last.items()}
    return save_model(to, mean, replace(loaded[-1][1], ranges=None), _card(models, shares, to.name), half=True)


def _mean(values: Sequence[torch.Tensor], shares: Sequence[float]) -> torch.Tensor:
    whole = torch.stack([value.double() * share for value, share in zip(values, shares, strict=True)]).sum(0)
    return whole.to(values[-1].dtype)


OF_ONE: Final = {"digest", "spec", "figures", "unseen", "calibration", "development", "weights_of"}
"""What a card says of its own weights alone."""


def _card(models: Sequence[ModelRef], shares: Sequence[float], name: str) -> dict[str, Any]:
    card = {key: value for key, value in models[-1].card.items() if key not in OF_ONE}
    mean_of = [{"digest": model.digest, "share": round(share, 4)} for model, share in zip(models, shares, strict=True)]
    return {**card, "name": name, "mean_of": mean_of}


if __name__ == "__main__":
    main()
