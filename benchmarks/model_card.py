"""Score a model on the validation split and write what was found onto its card, as JSON and as a page for people.

python benchmarks/model_card.py MODEL FACESET
"""

import argparse
import json
from pathlib import Path
from typing import Any

from fer_core.evaluate import Evaluation, Protocol, evaluate
from fer_core.faceset import read_card
from fer_core.models import CARD, resolve_model
from fer_core.network import NetworkConfig, multiply_adds

PROTOCOLS: tuple[Protocol, ...] = ("majority", "argmax")

PAGE = """# Model card: {name}

Names the **apparent expression** of an aligned face: {expressions}. Not an inner state, not an emotion felt.

| | |
|---|---|
| digest (SHA-256 of the weights file) | `{digest}` |
| size | {megabytes:.1f} MB, {millions:.0f} million multiply-adds a face |
| trained on | FER+ training split, {train} faces, a tenth of them held back ({removed} more are also in another split: left out) |
| framing | {framed:.1%} by `{detector}` and ferflow's aligner, the rest as the set usually frames faces |
| seed, epochs, batch | {seed}, {epochs}, {batch} |
| pretraining | none: no face recognition data of any kind |
| calibration | temperature {temperature:.3f}, fitted on {held} held-back faces; `needs_review` below confidence {review:.2f} |

## Validation split (PublicTest), scored once after training

| protocol | faces | accuracy | balanced accuracy | macro F1 | calibration error |
|---|---|---|---|---|---|
{figures}

{per_class}

## Known gaps

- Disgust, fear and contempt are rare in FER+ (see the counts above): their labels are weak, and often wrong in favour of a commoner class.
- FER2013 is 48 px grey web pictures, mostly adults, mostly posed or from media; its skin tones and ages are not documented. Fairness across
  groups was not measured.
- Not tested: RAF-DB, AffectNet, video, infrared, drawings, profile views beyond what the detector finds.
- FER2013's pictures carry no clear licence of their own; FER+'s labels are MIT.

## Not for

Deciding about people. The EU AI Act bans inferring emotions at work and in schools and treats the rest as high-risk.
"""


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("faceset", type=Path)
    args = parser.parse_args()
    ref = resolve_model(args.model)
    found = {protocol: evaluate(args.faceset, args.model, "valid", protocol) for protocol in PROTOCOLS}
    card = {**ref.card, "figures": {protocol: _figures(found[protocol]) for protocol in PROTOCOLS}}
    card["framing_of_figures"] = read_card(args.faceset).detector
    (ref.path / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    (ref.path / "CARD.md").write_text(_page(card, found, ref.path / "weights.safetensors"), encoding="utf-8")
    print(json.dumps(card["figures"], indent=2))


def _figures(found: Evaluation) -> dict[str, Any]:
    return {
        "split": "valid",
        "n": found.n,
        "accuracy": round(found.accuracy, 4),
        "balanced_accuracy": round(found.balanced_accuracy, 4),
        "macro_f1": round(found.macro_f1, 4),
        "ece": round(found.ece, 4),
        "per_class": {name: {key: round(value, 4) for key, value in row.items()} for name, row in found.per_class.items()},
    }


def _page(card: dict[str, Any], found: dict[Protocol, Evaluation], weights: Path) -> str:
    rows = [
        f"| {protocol} | {each.n} | {each.accuracy:.2%} | {each.balanced_accuracy:.2%} | {each.macro_f1:.3f} | {each.ece:.3f} |"
        for protocol, each in found.items()
    ]
    classes = ["| majority | precision | recall | F1 | faces |", "|---|---|---|---|---|"]
    for name, row in found["majority"].per_class.items():
        classes.append(f"| {name} | {row['precision']:.1%} | {row['recall']:.1%} | {row['f1']:.3f} | {int(row['support'])} |")
    return PAGE.format(
        name=card["name"],
        expressions=", ".join(card["expressions"]),
        digest=card["digest"],
        megabytes=weights.stat().st_size / 1e6,
        millions=multiply_adds(NetworkConfig.from_json(card["spec"]["network"])) / 1e6,
        train=card["trained_on"]["counts"]["train"],
        removed=card["trained_on"]["duplicates_removed"],
        framed=card["trained_on"]["framed_by_points"],
        detector=card["trained_on"]["detector"],
        seed=card["training"]["seed"],
        epochs=card["training"]["epochs"],
        batch=card["training"]["batch"],
        temperature=card["spec"]["temperature"],
        held=card["development"]["faces"],
        review=card["spec"]["review"]["confidence"],
        figures="\n".join(rows),
        per_class="\n".join(classes),
    )


if __name__ == "__main__":
    main()
