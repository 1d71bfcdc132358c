"""The page of a retraining: verdict and reasons first, then both models side by side."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fer_core.champion import Promotion
from fer_core.evaluate import Evaluation
from fer_core.gate import Verdict
from fer_core.model_card import ModelRef
from fer_core.retraining import Lesson
from fer_core.train import CURVES


@dataclass(frozen=True, slots=True)
class Outcome:
    """A retraining that came to its end."""

    champion: ModelRef
    """Who held the place when the challenger was judged."""
    challenger: ModelRef
    verdict: Verdict
    where: str
    reported_champion: Evaluation
    reported_challenger: Evaluation
    promotion: Promotion | None
    """None where the challenger was not promoted."""


def headline(outcome: Outcome) -> str:
    """One line."""
    gain = outcome.verdict.comparison.accuracy
    told = f"accuracy {gain.champion:.2%} -> {gain.challenger:.2%} ({100 * gain.gain:+.2f} points, at least {100 * gain.lower:+.2f})"
    if outcome.promotion is not None:
        return f"promoted: {told}"
    if outcome.verdict.passed:
        return f"passed, not promoted as asked: {told}"
    return f"kept, not promoted: {told}"


def page(outcome: Outcome, found: Lesson) -> str:
    """Markdown with pictures inside; names no image of anybody."""
    parts = _verdict(outcome), _figures(outcome), _cards(outcome), _classes(outcome), _confusions(outcome), _curves(outcome, found)
    return "\n".join(line for part in parts for line in part)


def _verdict(outcome: Outcome) -> Iterator[str]:
    verdict = outcome.verdict
    yield from (f"# {headline(outcome)}", "")
    if verdict.passed:
        yield "Every bound was held."
    else:
        yield "Not held:"
        yield ""
        yield from (f"- {reason}" for reason in verdict.reasons)
    yield from ("", "| | champion | challenger | measured | bound | |", "|---|---:|---:|---:|---:|---|")
    for check in verdict.checks:
        mark = "held" if check.passed else "**not held**"
        both = f"{_number(check.champion)} | {_number(check.challenger)}"
        yield f"| {check.name} | {both} | {check.measured:+.4f} | {check.bound:+.4f} | {mark} |"
    yield from (
        "",
        f"{verdict.faces:,} faces that nobody learnt from; {outcome.where}. Measured is the lower bound (95 %, paired bootstrap) of",
    )
    yield from ("the difference, for calibration the excess of the error, for speed the ratio.", "")
    if verdict.unjudged:
        rare = ", ".join(f"{name} ({count})" for name, count in verdict.unjudged.items())
        yield from (f"Too few faces to be judged, only reported: {rare}.", "")


def _figures(outcome: Outcome) -> Iterator[str]:
    yield from ("## On faces that had no say in the verdict", "", "| | faces | accuracy | balanced | macro F1 | calibration error |")
    yield "|---|---:|---:|---:|---:|---:|"
    for role, model, seen in _both(outcome):
        figures = f"{seen.n:,} | {seen.accuracy:.2%} | {seen.balanced_accuracy:.2%} | {seen.macro_f1:.3f} | {seen.ece:.3f}"
        yield f"| {role} `{model.digest[:12]}` | {figures} |"
    yield ""


def _cards(outcome: Outcome) -> Iterator[str]:
    """What both models are, from their cards; what a card does not tell is left out."""
    cards = [outcome.champion.card, outcome.challenger.card]
    rows = {
        "name": [str(card.get("name", "")) for card in cards],
        "digest": [f"`{model.digest[:12]}`" for model in (outcome.champion, outcome.challenger)],
        "trained on": [_trained_on(card) for card in cards],
        "epochs, batch, seed": [
            ", ".join(str(card.get("training", {}).get(key, "?")) for key in ("epochs", "batch", "seed")) for card in cards
        ],
        "held-back accuracy": [_share(card.get("development", {}).get("accuracy")) for card in cards],
        "temperature": [_number(card.get("spec", {}).get("temperature", 0.0)) for card in cards],
        "known gaps": ["; ".join(card.get("known_gaps", [])) for card in cards],
    }
    yield from ("## Cards", "", "| | champion | challenger |", "|---|---|---|")
    yield from (f"| {name} | {first} | {second} |" for name, (first, second) in rows.items() if first or second)
    yield ""


def _trained_on(card: dict[str, Any]) -> str:
    """Data sets with their training faces."""
    told = card.get("trained_on", [])
    sets = told if isinstance(told, list) else [told]
    return ", ".join(f"{one.get('name', '?')} ({one.get('counts', {}).get('train', 0):,} faces)" for one in sets)


def _share(value: object) -> str:
    return f"{value:.2%}" if isinstance(value, float) else ""


def _classes(outcome: Outcome) -> Iterator[str]:
    comparison = outcome.verdict.comparison
    yield from ("## Recall by expression, on the faces that gate", "", "| | faces | champion | challenger | difference | bounds |")
    yield "|---|---:|---:|---:|---:|---|"
    for name, one in comparison.recall.items():
        bounds = f"{100 * one.lower:+.1f} to {100 * one.upper:+.1f}"
        yield f"| {name} | {comparison.support[name]:,} | {one.champion:.1%} | {one.challenger:.1%} | {100 * one.gain:+.1f} | {bounds} |"
    yield ""


def _confusions(outcome: Outcome) -> Iterator[str]:
    for role, _, seen in _both(outcome):
        yield from (f"## What the {role} takes for what", "", f"| true \\ said | {' | '.join(seen.classes)} |")
        yield "|---|" + "---:|" * len(seen.classes)
        for name, row in zip(seen.classes, seen.confusion, strict=True):
            yield f"| {name} | {' | '.join(f'{count:,}' for count in row)} |"
        yield ""


def _curves(outcome: Outcome, found: Lesson) -> Iterator[str]:
    yield from ("## Training", "", f"{found.config.epochs} epochs at most, batch {found.config.batch}, seed {found.config.seed}, ")
    yield f"learning rate {found.config.learning_rate:g}. Challenger: `{outcome.challenger.path}`."
    file = outcome.challenger.path / CURVES
    if file.is_file():
        yield from ("", f"![Losses and held-back accuracy by epoch](data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()})")


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
