"""How many labels need no review, and how often those are right: by the model's own rule, and at precisions that are asked for.

    python -m benchmarks.accuracy.kept_labels tiny FERPLUS:valid MUXSPACE:test [--prior PRIOR]

`surest`: right labels among the 60 % of faces of highest confidence. `novel`: faces above the model's limit of novelty.
"""

import argparse
from pathlib import Path

import numpy as np

from fer_core.evaluation.evaluate import majority_classes
from fer_core.evaluation.risk_coverage import risk_coverage
from fer_core.faceset import read_split
from fer_core.models.store import resolve_model
from fer_core.predict.answer_rule import AnswerOptions, answer_rule
from fer_core.predict.predictor import Predictor

PRECISIONS = (None, 0.8, 0.85, 0.9, 0.95)
SUREST = 0.6


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("sets", metavar="FACESET:SPLIT", nargs="+")
    parser.add_argument("--prior")
    args = parser.parse_args()
    predictor = Predictor(resolve_model(args.model), "cpu")
    print("| faces | rule | kept, % | right among them, % | surest, % | novel, % |\n|---|---|---|---|---|---|")
    for given in args.sets:
        folder, _, split = given.rpartition(":")
        faces = read_split(Path(folder), split, luma=True)
        classes, kept = majority_classes(faces.votes, faces.kind)
        logits = predictor.logits(faces.crops[kept])
        for precision in PRECISIONS:
            rule = answer_rule(predictor.ref, predictor.spec, AnswerOptions(args.prior, precision))
            told = rule.predictions(logits)
            right, shown = told.expression == classes, ~told.needs_review
            curve = risk_coverage(rule.probabilities(logits).max(axis=1), right)
            surest = 1 - curve.risk[int(SUREST * len(classes)) - 1]
            novel = float("nan") if told.novelty is None or rule.novelty is None else float((told.novelty > rule.novelty.limit).mean())
            name = "the model's own" if precision is None else f"`--precision {precision:g}`"
            shares = (100 * float(value) for value in (shown.mean(), np.mean(right[shown]), surest, novel))
            print(f"| {given.rpartition('/')[2]} | {name} | {' | '.join(f'{share:.1f}' for share in shares)} |")


if __name__ == "__main__":
    main()
