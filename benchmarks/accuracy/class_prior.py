"""Gives a model what a training of today adds to it: the ranges of its activations, for eight bits, and its class prior. The weights stay.

    python -m benchmarks.accuracy.class_prior --model tiny --ferplus FERPLUS [--people MUXSPACE] --to MODEL

The class bias is the model's own or, where it has none, the log of the mean vote targets of FER+ train without its held-back tenth
(`carve_dev`). Temperatures, review limits, curves of precision and the scale of novelty are fitted on that tenth, as it is and corrupted:
on faces that the training did not see, and on the answers in eight bits. With --people also on the `train` faces of sets that the training
did not use at all. The shipped `tiny` was made so from the weights 09dd84e8 (figures: docs/explanation/trust.md).
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from fer_core.evaluation.evaluate import score
from fer_core.faceset import carve_dev, read_split, vote_targets
from fer_core.models.prior import ClassPrior
from fer_core.models.store import load_model, read_weights, resolve_model, save_model
from fer_core.predict.activation_ranges import activation_ranges
from fer_core.predict.onnx_backend import NetworkSession
from fer_core.training.class_prior_fit import (
    Cosines,
    DevSet,
    Domain,
    HeldBack,
    calibration_crops,
    calibration_told,
    corrupted_domains,
    fit_class_prior,
)
from fer_core.training.train import OWN


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--ferplus", type=Path, required=True)
    parser.add_argument("--people", type=Path, nargs="*", default=[], help="face sets that the model was not trained on")
    parser.add_argument("--to", type=Path, required=True, help="folder of the new model")
    args = parser.parse_args()
    ref = resolve_model(args.model)
    network, spec = load_model(ref)
    rest, dev = carve_dev(read_split(args.ferplus, "train", luma=True), 0.1)
    if spec.prior is None:
        targets, weights = vote_targets(rest.votes, rest.kind)
        shares = (targets.astype(np.float64) * weights[:, None]).sum(axis=0)
        bias = np.log(shares / shares.sum())
    else:
        bias = np.array(spec.prior.bias)
    own = DevSet.of(OWN, dev)
    ranges = activation_ranges(network, calibration_crops(own))
    session = NetworkSession(spec.network, read_weights(ref)[0], ranges, mirrored=spec.flip)
    others = tuple(_people(folder, session) for folder in args.people)
    held_back = HeldBack(Domain(OWN, session.logits(own.crops), own.classes, own.agreed), others, corrupted_domains(session.logits, own))
    offset = bias if spec.network.class_bias else np.zeros_like(bias)
    prior = fit_class_prior(held_back, bias, Cosines(spec.network.logit_scale, offset))
    training = prior.calibrations["training"]
    card = {name: value for name, value in ref.card.items() if name not in {"digest", "spec", "figures", "unseen"}}
    card |= {"weights_of": card.get("weights_of", ref.digest), **calibration_told(held_back, prior)}
    card["development"] = card.get("development", {}) | _told(held_back.own.majority(), prior, own.present)
    new = dataclasses.replace(spec, temperature=training.temperature, review=training.review, prior=prior, ranges=ranges)
    made = save_model(args.to, network.state_dict(), new, card, half=True)
    print(json.dumps({"model": str(made.path), "digest": made.digest, **card["calibration"]}, indent=1))


def _told(own: Domain, prior: ClassPrior, present: tuple[str, ...]) -> dict[str, Any]:
    """Figures on the held-back faces, as a training writes them."""
    figures = score(prior.posterior(own.logits, "training"), own.classes, present)
    return {
        "faces": len(own.classes),
        "protocol": "majority",
        "accuracy": figures.accuracy,
        "macro_f1": figures.macro_f1,
        "ece": figures.ece,
    }


def _people(folder: Path, session: NetworkSession) -> Domain:
    faces = DevSet.of(folder.name, read_split(folder, "train", luma=True))
    return Domain(faces.name, session.logits(faces.crops), faces.classes, faces.agreed)


if __name__ == "__main__":
    main()
