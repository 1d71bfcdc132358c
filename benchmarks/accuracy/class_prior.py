"""Gives a model that does not know its class prior one: the weights stay, what its answers under other priors need is fitted and stored.

    python -m benchmarks.accuracy.class_prior --model tiny --ferplus FERPLUS --to MODEL

The class bias is the log of the mean vote targets of FER+ train without its held-back tenth (`carve_dev`). Temperatures, review limits,
curves of precision and the scale of novelty are fitted on that tenth, as it is and corrupted: on faces that the training did not see. The
shipped `tiny` was made so from the weights 09dd84e8 (figures: docs/explanation/trust.md).
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

from fer_core.evaluation.evaluate import majority_classes
from fer_core.faceset import carve_dev, read_split, vote_targets
from fer_core.models.store import load_model, resolve_model, save_model
from fer_core.predict.predictor import Predictor
from fer_core.training.class_prior_fit import Cosines, DevSet, Domain, HeldBack, calibration_told, corrupted_domains, fit_class_prior
from fer_core.training.train import OWN


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--ferplus", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True, help="folder of the new model")
    args = parser.parse_args()
    ref = resolve_model(args.model)
    predictor = Predictor(ref, "cpu")
    rest, dev = carve_dev(read_split(args.ferplus, "train", luma=True), 0.1)
    targets, weights = vote_targets(rest.votes, rest.kind)
    shares = (targets.astype(np.float64) * weights[:, None]).sum(axis=0)
    bias = np.log(shares / shares.sum())
    classes, kept = majority_classes(dev.votes, dev.kind)
    own = DevSet(OWN, dev.crops[kept], classes, dev.classes)
    held_back = HeldBack(Domain(OWN, predictor.logits(own.crops), classes), (), corrupted_domains(predictor.logits, own))
    network, spec = load_model(ref)
    prior = fit_class_prior(held_back, bias, Cosines(spec.network.logit_scale, np.zeros_like(bias)))
    training = prior.calibrations["training"]
    card = {name: value for name, value in ref.card.items() if name not in {"digest", "spec", "figures", "unseen"}}
    card |= {"weights_of": ref.digest, **calibration_told(held_back, prior)}
    new = dataclasses.replace(spec, temperature=training.temperature, review=training.review, prior=prior)
    made = save_model(args.to, network.state_dict(), new, card, half=True)
    print(json.dumps({"model": str(made.path), "digest": made.digest, **card["calibration"]}, indent=1))


if __name__ == "__main__":
    main()
