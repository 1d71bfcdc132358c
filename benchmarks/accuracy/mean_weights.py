"""The mean of two models' weights, of the same network (Wortsman et al., CVPR 2022): what a further round gains, in part.

    python -m benchmarks.accuracy.mean_weights MODEL FURTHER --share 0.7 --to MEAN

Then `benchmarks.accuracy.class_prior --model MEAN` fits its answers. FURTHER has learnt from MODEL, or their mean is no network.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from fer_core.models.store import load_model, resolve_model, save_model


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("further")
    parser.add_argument("--share", type=float, required=True, help="of FURTHER's weights")
    parser.add_argument("--to", type=Path, required=True, help="folder of the mean")
    args = parser.parse_args()
    (ours, _), (theirs, spec) = load_model(resolve_model(args.model)), load_model(resolve_model(args.further))
    further = theirs.state_dict()
    mean = {
        name: value.lerp(further[name], args.share) if value.is_floating_point() else further[name]
        for name, value in ours.state_dict().items()
    }
    made = save_model(args.to, mean, replace(spec, ranges=None), {"name": args.to.name}, half=True)
    print(made.digest)


if __name__ == "__main__":
    main()
