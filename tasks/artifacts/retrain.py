"""The page of a retraining: verdict and reasons first, then both models side by side."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fer_core.evaluation.evaluate import Evaluation
from fer_core.models.card import ModelRef
from fer_core.models.registry import Promotion
from fer_core.training.promotion_gate import Verdict
from fer_core.training.retraining import RetrainingPlan
from fer_core.training.train import CURVES
from tasks.artifacts.markdown import Markdown, code, lines


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished retraining."""

    champion: ModelRef
    """The champion at the time of the comparison."""
    challenger: ModelRef
    verdict: Verdict
    where: str
    reported_champion: Evaluation
    reported_challenger: Evaluation
    promotion: Promotion | None
    """None where the challenger was not promoted."""


def headline(outcome: Outcome) -> str:
    """One line."""
    first, lower = outcome.verdict.checks[0], outcome.verdict.comparison.accuracy.lower
    gain = f"{100 * (first.challenger - first.champion):+.2f} points" + (
        f", at least {100 * lower:+.2f}" if first.name == "accuracy" else ""
    )
    told = f"{first.name} {first.champion:.2%} -> {first.challenger:.2%} ({gain})"
    if outcome.promotion is not None:
        return f"promoted: {told}"
    if outcome.verdict.passed:
        return f"passed, not promoted as requested: {told}"
    return f"kept, not promoted: {told}"


def page(outcome: Outcome, found: RetrainingPlan) -> Markdown:
    """The artifact, with plots inside; it names no image."""
    tuned = found.tune == "head"
    last = _tuning(outcome) if tuned else _curves(outcome, found)
    return lines(_verdict(outcome, tuned), _figures(outcome, tuned), _cards(outcome), _classes(outcome), _confusions(outcome), last)


def _verdict(outcome: Outcome, tuned: bool) -> Iterator[Markdown]:
    verdict = outcome.verdict
    yield Markdown("# {}\n").format(headline(outcome))
    if verdict.passed:
        yield Markdown("Every bound was held.")
    else:
        yield Markdown("Not held:\n")
        yield from (Markdown("- {}").format(reason) for reason in verdict.reasons)
    yield Markdown("\n| | champion | challenger | measured | bound | |\n|---|---:|---:|---:|---:|---|")
    for check in verdict.checks:
        mark = Markdown("held" if check.passed else "**not held**" if check.asked else "not held, reported only")
        both = _number(check.champion), _number(check.challenger)
        yield Markdown("| {} | {} | {} | {:+.4f} | {:+.4f} | {} |").format(check.name, *both, check.measured, check.bound, mark)
    faces = Markdown("\n{:,} held-out faces; {}. Measured is the lower bound (95 %, paired bootstrap) of")
    yield faces.format(verdict.faces, outcome.where)
    if tuned:
        yield Markdown("the difference, for balanced accuracy the difference, for calibration the excess of the error.\n")
    else:
        yield Markdown("the difference, for calibration the excess of the error, for speed the ratio.\n")
    if verdict.unjudged:
        rare = Markdown(", ").join(f"{name} ({count})" for name, count in verdict.unjudged.items())
        yield Markdown("Too few faces for a verdict, reported only: {}.\n").format(rare)


def _figures(outcome: Outcome, tuned: bool) -> Iterator[Markdown]:
    yield Markdown("## On the faces of the verdict\n" if tuned else "## On faces that were not used for the verdict\n")
    yield Markdown("| | faces | accuracy | balanced | macro F1 | calibration error |\n|---|---:|---:|---:|---:|---:|")
    for role, model, seen in _both(outcome):
        row = Markdown("| {} {} | {:,} | {:.2%} | {:.2%} | {:.3f} | {:.3f} |")
        yield row.format(role, code(model.digest[:12]), seen.n, seen.accuracy, seen.balanced_accuracy, seen.macro_f1, seen.ece)
    yield Markdown()


def _cards(outcome: Outcome) -> Iterator[Markdown]:
    """Descriptions of both models from their cards; missing entries are left out."""
    cards = [outcome.champion.card, outcome.challenger.card]
    rows: dict[str, list[str]] = {
        "name": [str(card.get("name", "")) for card in cards],
        "digest": [*(code(model.digest[:12]) for model in (outcome.champion, outcome.challenger))],
        "trained on": [_trained_on(card) for card in cards],
        "epochs, batch, seed": [
            ", ".join(str(card.get("training", {}).get(key, "?")) for key in ("epochs", "batch", "seed")) for card in cards
        ],
        "held-back accuracy": [_share(card.get("development", {}).get("accuracy")) for card in cards],
        "temperature": [_number(card.get("spec", {}).get("temperature", 0.0)) for card in cards],
        "known gaps": ["; ".join(card.get("known_gaps", [])) for card in cards],
    }
    yield Markdown("## Cards\n\n| | champion | challenger |\n|---|---|---|")
    yield from (Markdown("| {} | {} | {} |").format(name, *both) for name, both in rows.items() if any(both))
    yield Markdown()


def _trained_on(card: dict[str, Any]) -> str:
    """Data sets with their training faces."""
    told = card.get("trained_on", [])
    sets = told if isinstance(told, list) else [told]
    return ", ".join(f"{one.get('name', '?')} ({one.get('counts', {}).get('train', 0):,} faces)" for one in sets)


def _share(value: object) -> str:
    return f"{value:.2%}" if isinstance(value, float) else ""


def _classes(outcome: Outcome) -> Iterator[Markdown]:
    comparison = outcome.verdict.comparison
    yield Markdown("## Recall by expression, on the faces that gate\n")
    yield Markdown("| | faces | champion | challenger | difference | bounds |\n|---|---:|---:|---:|---:|---|")
    for name, one in comparison.recall.items():
        row = Markdown("| {} | {:,} | {:.1%} | {:.1%} | {:+.1f} | {:+.1f} to {:+.1f} |")
        gains = 100 * one.gain, 100 * one.lower, 100 * one.upper
        yield row.format(name, comparison.support[name], one.champion, one.challenger, *gains)
    yield Markdown()


def _confusions(outcome: Outcome) -> Iterator[Markdown]:
    for role, _, seen in _both(outcome):
        yield Markdown("## Confusions of the {}\n").format(role)
        yield Markdown("| true \\ predicted | {} |").format(Markdown(" | ").join(seen.classes))
        yield Markdown("|---|" + "---:|" * len(seen.classes))
        for name, row in zip(seen.classes, seen.confusion, strict=True):
            yield Markdown("| {} | {} |").format(name, Markdown(" | ").join(f"{count:,}" for count in row))
        yield Markdown()


def _curves(outcome: Outcome, found: RetrainingPlan) -> Iterator[Markdown]:
    lesson = Markdown("## Training\n\n{} epochs at most, batch {}, seed {}, ")
    yield lesson.format(found.config.epochs, found.config.batch, found.config.seed)
    yield Markdown("learning rate {:g}. Challenger: {}.").format(found.config.learning_rate, code(str(outcome.challenger.path)))
    file = outcome.challenger.path / CURVES
    if file.is_file():
        drawn = base64.b64encode(file.read_bytes()).decode()
        yield Markdown(f"\n![Losses and held-back accuracy by epoch](data:image/png;base64,{drawn})")


def _tuning(outcome: Outcome) -> Iterator[Markdown]:
    told = outcome.challenger.card["tuned"]
    yield Markdown(
        "## Tuning\n\nClass centers and class bias, fitted to {:,} faces of {:,} groups: {}. The network is the champion's."
    ).format(told["faces"], told["groups"], ", ".join(f"{name} {count}" for name, count in told["per_class"].items()))
    yield Markdown("The model is one of this collection. Challenger: {}.").format(code(str(outcome.challenger.path)))
    if told["reference"] is not None:
        cost = told["reference"]
        figures = [cost[name][role] for name in ("accuracy", "balanced_accuracy", "ece") for role in ("start", "tuned")]
        row = Markdown(
            "On {:,} other faces ({}): accuracy {:.2%} -> {:.2%}, balanced {:.2%} -> {:.2%}, calibration error {:.3f} -> {:.3f}."
        )
        yield row.format(cost["faces"], cost["name"], *figures)


def _both(outcome: Outcome) -> tuple[tuple[str, ModelRef, Evaluation], ...]:
    return (
        ("champion", outcome.champion, outcome.reported_champion),
        ("challenger", outcome.challenger, outcome.reported_challenger),
    )


def _number(value: float) -> str:
    return f"{value:.4f}" if value <= 1 else f"{value:,.0f}"


def as_json(outcome: Outcome) -> dict[str, Any]:
    """For `--json`."""
    return {
        "promoted": outcome.promotion is not None,
        "passed": outcome.verdict.passed,
        "reasons": list(outcome.verdict.reasons),
        "champion": {"name": outcome.champion.name, "digest": outcome.champion.digest},
        "challenger": {"name": outcome.challenger.name, "digest": outcome.challenger.digest, "path": str(outcome.challenger.path)},
        "verdict": outcome.verdict.to_json(),
        "reported": {"champion": _scores(outcome.reported_champion), "challenger": _scores(outcome.reported_challenger)},
    }


def _scores(found: Evaluation) -> dict[str, float]:
    return {"n": found.n, "accuracy": found.accuracy, "macro_f1": found.macro_f1, "ece": found.ece}
