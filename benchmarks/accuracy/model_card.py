"""Score a model on the validation split and write the figures to its card, as JSON and as a page for people.

python -m benchmarks.accuracy.model_card MODEL FACESET [--unseen FACESET] [--names NAME ...]

--unseen: a set of single labels whose `test` split has no person of the training set; its figures are listed separately.
--names: names of the sets that the model was trained on, in their order. Default: the names of their layouts.
--unseen-name: of the unseen set. Default: the last of --names.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from fer_core.evaluation.evaluate import Evaluation, Protocol, evaluate
from fer_core.faceset import read_card
from fer_core.models.network import NetworkConfig, multiply_adds
from fer_core.models.prior import PRIORS
from fer_core.models.store import CARD, ModelRef, resolve_model
from fer_core.predict.answer_rule import usual_prior_of

PROTOCOLS: tuple[Protocol, ...] = ("majority", "argmax")
GAPS = (
    "Disgust, fear and contempt are rare in FER+: their labels are weak, and often wrong in favour of a commoner class.",
    "FER2013 is 48 px grey web pictures, mostly adults, mostly posed or from media. Its skin tones and ages are not documented, and "
    "neither are muxspace's, which shows public figures of the 1990s and 2000s. Children, old people and dark skin are most likely "
    "under-represented. Fairness across groups was not measured.",
    "muxspace's labels are one person's each, and noisy.",
    "Not tested: RAF-DB, AffectNet, video, infrared, drawings, profile views beyond what the detector finds, real occlusions.",
    "Neither FER2013's nor muxspace's pictures carry clear rights: FER+'s labels are MIT, muxspace's collection is Apache-2.0, the "
    "pictures themselves are press and web photographs of people who were not asked.",
)

FACES = (
    "no face recognition network and no identity label; but muxspace's pictures are, by their file names, largely those of LFW, a face "
    "verification set (7,437 of the 7,701 names in LFW's list of pairs)"
)
PAGE = """# Model card: {name}

Names the **apparent expression** of an aligned face: {expressions}. Not an inner state, not an emotion felt.

| | |
|---|---|
| digest (SHA-256 of the weights file) | `{digest}` |
| size | {megabytes:.1f} MB, {millions:.0f} million multiply-adds a face |
{trained}
| loss | {loss} |
| learns from | votes and labels{teachers} |
| seed, epochs, batch | {seed}, {epochs}{best}, {batch} |
| start | {start} |
{mean}| face recognition data | {faces} |
{prior}

## Validation split (PublicTest), prior `training`, never trained on

Faces framed by `{framing}`.

| protocol | faces | accuracy | balanced accuracy | macro F1 | calibration error |
|---|---|---|---|---|---|
{figures}

{per_class}
{unseen}
## Known gaps

{gaps}

## Not for

Deciding about people. The EU AI Act bans inferring emotions at work and in schools and treats the rest as high-risk.
"""


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("faceset", type=Path)
    parser.add_argument("--unseen", type=Path)
    parser.add_argument("--names", nargs="+", default=[])
    parser.add_argument("--unseen-name")
    args = parser.parse_args()
    ref = resolve_model(args.model)
    found = {protocol: evaluate(args.faceset, args.model, "valid", protocol, prior="training") for protocol in PROTOCOLS}
    card = {**ref.card, "figures": {protocol: _figures(found[protocol], "valid") for protocol in PROTOCOLS}}
    for data, name in zip(card["trained_on"], args.names, strict=False):
        data["name"] = name
    card["framing_of_figures"] = read_card(args.faceset).detector
    card["multiply_adds"] = multiply_adds(NetworkConfig.from_json(card["spec"]["network"]))
    card["known_gaps"] = list(GAPS)
    if args.unseen is not None:
        name = args.unseen_name or (args.names[-1] if args.names else read_card(args.unseen).name)
        usual = usual_prior_of(ref)
        priors = PRIORS if usual != "training" else PRIORS[:1]
        scored = {prior: _figures(evaluate(args.unseen, args.model, "test", "majority", prior=prior), "test") for prior in priors}
        card["unseen"] = {"set": name, "prior": usual, **scored[usual], "priors": scored}
    (ref.path / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    (ref.path / "CARD.md").write_text(_page(card, ref), encoding="utf-8")
    print(json.dumps({**card["figures"], "unseen": card.get("unseen")}, indent=2))


def _figures(found: Evaluation, split: str) -> dict[str, Any]:
    return {
        "split": split,
        "n": found.n,
        "accuracy": round(found.accuracy, 4),
        "balanced_accuracy": round(found.balanced_accuracy, 4),
        "macro_f1": round(found.macro_f1, 4),
        "ece": round(found.ece, 4),
        "per_class": {name: {key: round(value, 4) for key, value in row.items()} for name, row in found.per_class.items()},
    }


def _row(name: str, row: dict[str, Any]) -> str:
    numbers = f"{row['accuracy']:.2%} | {row['balanced_accuracy']:.2%} | {row['macro_f1']:.3f} | {row['ece']:.3f}"
    return f"| {name} | {row['n']} | {numbers} |"


def _per_class(title: str, row: dict[str, Any]) -> str:
    lines = [f"| {title} | precision | recall | F1 | faces |", "|---|---|---|---|---|"]
    for name, each in row["per_class"].items():
        lines.append(f"| {name} | {each['precision']:.1%} | {each['recall']:.1%} | {each['f1']:.3f} | {int(each['support'])} |")
    return "\n".join(lines)


def _unseen(card: dict[str, Any]) -> str:
    """Figures on people that training never showed."""
    row = card.get("unseen")
    if row is None:
        return ""
    head = "| set | faces | accuracy | balanced accuracy | macro F1 | calibration error |\n|---|---|---|---|---|---|"
    title = f"## People it has never seen ({row['set']}, identities kept out of training)"
    rows = "\n".join(_row(f"{row['set']}, prior `{prior}`", figures) for prior, figures in row["priors"].items())
    usual = f"prior `{row['prior']}`"
    return f"\n{title}\n\n{head}\n{rows}\n\n{_per_class(usual, row)}\n"


def _prior(spec: dict[str, Any], card: dict[str, Any]) -> str:
    """Calibration, a line a prior."""
    if "prior" not in spec:
        review = f"confidence {spec['review']['confidence']:.2f} or above entropy {spec['review']['entropy']:.2f}"
        return f"| calibration | temperature {spec['temperature']:.3f} |\n| `needs_review` | below {review} |"
    lines = [f"| class bias, as shares | {', '.join(f'{name} {share:.1%}' for name, share in _shares(spec))} |"]
    for prior, fitted in spec["prior"]["calibrations"].items():
        errors = ", ".join(f"{place} {error:.3f}" for place, error in card["calibration"]["ece"][prior].items())
        review = f"below confidence {fitted['review']['confidence']:.2f} or above entropy {fitted['review']['entropy']:.2f}"
        lines.append(f"| prior `{prior}` | temperature {fitted['temperature']:.3f}; `needs_review` {review}; calibration error: {errors} |")
    if spec["prior"]["novelty"] is not None:
        lines.append(f"| novelty | `needs_review` above {spec['prior']['novelty']['limit']:.2f} |")
    return "\n".join(lines)


def _shares(spec: dict[str, Any]) -> list[tuple[str, float]]:
    powers = np.exp(spec["prior"]["bias"])
    return list(zip(spec["network"]["classes"], (powers / powers.sum()).tolist(), strict=True))


def _trained(card: dict[str, Any]) -> str:
    lines = []
    for data in card["trained_on"]:
        left = f" ({data['duplicates_removed']} more are also in another split: left out)" if data["duplicates_removed"] else ""
        framed = f"{data['framed_by_points']:.1%} framed by `{data['detector']}` and ferflow's aligner, the rest as the set usually is"
        lines.append(f"| trained on | {data['name']}: training split, {data['counts']['train']} faces{left}; {framed} |")
    return "\n".join([*lines, f"| held back of the first | {card['training']['dev_share']:.0%} of its groups |"])


def _mean(card: dict[str, Any]) -> str:
    """Of whose weights these are the mean; the lines on training are of the last of them."""
    parts = [f"{one['share']:.0%} of `{one['digest'][:12]}`" for one in card.get("mean_of", [])]
    return f"| mean of weights | {', '.join(parts)}; seed, epochs and start are of the last one |\n" if parts else ""


def _page(card: dict[str, Any], ref: ModelRef) -> str:
    training, spec, sources = card["training"], card["spec"], card["sources"]
    teachers = [digest[:12] for digest in sources["teachers"]]
    loss = {name: value for name, value in training["loss"].items() if name != "kind"}
    return PAGE.format(
        name=card["name"],
        expressions=", ".join(card["expressions"]),
        digest=card["digest"],
        megabytes=(ref.path / "weights.safetensors").stat().st_size / 1e6,
        millions=card["multiply_adds"] / 1e6,
        trained=_trained(card),
        loss=f"{training['loss']['kind'].replace('_', ' ')}, " + ", ".join(f"{name} {value:g}" for name, value in loss.items()),
        teachers=f", {training['distill']:.0%} of the targets from networks of ours, `{'`, `'.join(teachers)}`" if teachers else "",
        start="random weights" if sources["start"] is None else f"our own `{sources['start'][:12]}`",
        mean=_mean(card),
        faces=FACES,
        prior=_prior(spec, card),
        seed=training["seed"],
        epochs=training["epochs"],
        best=f" (best: {card['development']['epoch']})" if "epoch" in card["development"] else "",
        batch=training["batch"],
        framing=card["framing_of_figures"],
        figures="\n".join(_row(protocol, card["figures"][protocol]) for protocol in PROTOCOLS),
        per_class=_per_class("majority", card["figures"]["majority"]),
        unseen=_unseen(card),
        gaps="\n".join(f"- {gap}" for gap in card["known_gaps"]),
    )


if __name__ == "__main__":
    main()
