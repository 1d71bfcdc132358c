"""A model's card as a page of text."""

from collections.abc import Iterable, Iterator, Mapping
from shlex import quote
from textwrap import wrap
from typing import Any, Final

from fer_core.errors import ModelError
from fer_core.models.store import CARD, WEIGHTS, ModelRef

PROTOCOLS: Final = ("majority", "argmax")
_WIDTH: Final = 15
"""Characters of the first column."""
_CHANGES: Final = {"accuracy": "accuracy", "balanced_accuracy": "balanced", "ece": "ECE"}
_PAGE: Final = 130
"""Characters of a line of running text."""


def size_bytes(ref: ModelRef) -> int:
    """Bytes of the weights file, 0 where it is gone."""
    file = ref.path / WEIGHTS
    return file.stat().st_size if file.is_file() else 0


def size_text(size: int) -> str:
    """In KB or MB."""
    if size == 0:
        return "no weights"
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB"


def validation_accuracy(card: Mapping[str, Any], protocol: str) -> float | None:
    """The card's accuracy on the validation split, None where it has none."""
    figures = card.get("figures")
    row = figures.get(protocol) if isinstance(figures, dict) else None
    said = row.get("accuracy") if isinstance(row, dict) and row.get("split") == "valid" else None
    return float(said) if isinstance(said, int | float) else None


def list_page(models: Iterable[ModelRef]) -> list[str]:
    """One line a model: name, digest, validation accuracy by protocol, size of its weights."""
    lines = [f"{'':12}  {'digest':12}  {'majority':>8}  {'argmax':>8}  {'size':>10}  path"]
    for ref in models:
        said = [validation_accuracy(ref.card, protocol) for protocol in PROTOCOLS]
        scores = "  ".join(f"{'-' if accuracy is None else f'{accuracy:.2%}':>8}" for accuracy in said)
        lines.append(f"{ref.name:12}  {ref.digest[:12]}  {scores}  {size_text(size_bytes(ref)):>10}  {ref.path}")
    return [*lines, "", "majority, argmax: accuracy on the validation split by protocol"]


def page(ref: ModelRef, multiply_adds: int | None, asked: str) -> list[str]:
    """All entries of a card; missing ones are left out. asked: the user's name for it. ModelError: the card has another format."""
    try:
        return [*_lines(ref, multiply_adds), "", _more(ref, asked)]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ModelError(f"damaged model card: {ref.path / CARD}") from error


def _lines(ref: ModelRef, multiply_adds: int | None) -> Iterator[str]:
    card = ref.card
    yield f"{ref.name}  {ref.digest[:12]}"
    if "task" in card:
        yield str(card["task"])
    yield ""
    work = f", {multiply_adds / 1e6:.0f} million multiply-adds a face" if multiply_adds else ""
    yield _row("size", size_text(size_bytes(ref)) + work)
    yield _row("digest", ref.digest)
    yield _row("path", str(ref.path))
    yield from _origin(card)
    yield from _figures(card)
    gaps = card.get("known_gaps", [])
    if gaps:
        yield from ("", "known gaps")
        for gap in [gaps] if isinstance(gaps, str) else gaps:
            yield from wrap(str(gap), _PAGE, initial_indent="  - ", subsequent_indent="    ")


def _more(ref: ModelRef, asked: str) -> str:
    beside = f"{ref.path / 'CARD.md'}, or " if (ref.path / "CARD.md").is_file() else ""
    return f"more: {beside}ferflow models show {quote(asked)} --json"


def _origin(card: Mapping[str, Any]) -> Iterator[str]:
    """Data, training, calibration."""
    before = ""
    for data in _each(card.get("trained_on")):
        counts = data.get("counts", {})
        faces = f", {counts['train']:,} training faces" if "train" in counts else ""
        named = f"{data['name']}{faces}"
        if named != before:  # else the same faces, framed by another detector
            yield _row("trained on", named)
        before = named
        if data.get("detector"):
            yield _row("", f"{data['framed_by_points']:.1%} framed by {data['detector']}")
        yield from _purposes(data)
    parts = _each(card.get("mean_of"))
    if parts:
        yield _row("weights", f"mean of those of {', '.join(str(part['digest'])[:12] for part in parts)}; the training is that of the last")
    yield from _tuning(card.get("tuned"))
    training = card.get("training", {})
    words = [f"{word} {training[key]}" for key, word in (("epochs", "epochs"), ("batch", "batch"), ("seed", "seed")) if key in training]
    if words:
        yield _row("training", ", ".join(words))
    held = card.get("development")
    if held:
        yield _row("held back", f"{held['faces']:,} faces, {held['protocol']}: accuracy {held['accuracy']:.2%}{_beside(held)}")
    spec = card.get("spec", {})
    if spec.get("prior"):
        fitted = spec["prior"]["calibrations"]
        told = ", ".join(f"{name} {one['temperature']:.3f}" for name, one in fitted.items())
        yield _row("class prior", f"known; temperature {told}")
        yield _row("", f"tempered{_review(fitted['tempered'])}")
    elif "temperature" in spec:
        yield _row("calibration", f"temperature {spec['temperature']:.3f}{_review(spec)}")


def _tuning(tuned: Mapping[str, Any] | None) -> Iterator[str]:
    """Of a model whose head was tuned: its start, the gain on the labelled faces and the change on the reference faces."""
    if not tuned:
        return
    start, reference = tuned["from"], tuned.get("reference")
    yield _row("head tuned", f"from {start['name']} {start['digest'][:12]} on {tuned['faces']:,} faces of {tuned['groups']:,} groups")
    for place, change in (("on them, cross-validated", tuned["gain"]), *([(f"on {reference['name']}", reference)] if reference else [])):
        told = (f"{word} {change[name]['start']:.3f} -> {change[name]['tuned']:.3f}" for name, word in _CHANGES.items())
        yield _row("", f"{place}: {', '.join(told)}")
    for data in _each(tuned.get("on")):
        yield from _purposes(data)


def _purposes(data: Mapping[str, Any]) -> Iterator[str]:
    """What the runs that labelled reviewed faces were for."""
    if data.get("purposes"):
        yield _row("", f"labelled for: {'; '.join(map(str, data['purposes']))}")


def _beside(held: Mapping[str, Any]) -> str:
    macro_f1 = f", macro F1 {held['macro_f1']:.3f}" if "macro_f1" in held else ""
    return macro_f1 + (f", epoch {held['epoch']}" if "epoch" in held else "")


def _review(spec: Mapping[str, Any]) -> str:
    rule = spec.get("review", {"confidence": spec.get("review_confidence")})
    told = [f"below confidence {rule['confidence']:.2f}"] if rule.get("confidence") is not None else []
    told += [f"above entropy {rule['entropy']:.2f}"] if rule.get("entropy", 1.0) < 1 else []
    return f"; needs_review {' or '.join(told)}" if told else ""


def _figures(card: Mapping[str, Any]) -> Iterator[str]:
    """A line a protocol, and the classes of the first one."""
    figures = card.get("figures", {})
    if not figures:
        return
    yield from ("", f"{'':{_WIDTH}}{'split':>6} {'faces':>7} {'accuracy':>9} {'balanced':>9} {'macro F1':>9} {'ECE':>6}")
    for protocol, row in figures.items():
        yield (
            f"{protocol:{_WIDTH}}{row['split']:>6} {row['n']:>7,} {row['accuracy']:>9.2%} {row['balanced_accuracy']:>9.2%} "
            f"{row['macro_f1']:>9.3f} {row['ece']:>6.3f}"
        )
    protocol, first = next(iter(figures.items()))
    yield from ("", f"{protocol:{_WIDTH}}{'faces':>6} {'precision':>10} {'recall':>8} {'F1':>7}")
    for name, row in first.get("per_class", {}).items():
        yield f"  {name:{_WIDTH - 2}}{int(row['support']):>6,} {row['precision']:>10.1%} {row['recall']:>8.1%} {row['f1']:>7.3f}"
    if "framing_of_figures" in card:
        yield f"(faces framed by {card['framing_of_figures']})"


def _each(value: Any) -> list[Mapping[str, Any]]:  # noqa: ANN401  (a card is JSON)
    """One data set or several."""
    return [] if value is None else value if isinstance(value, list) else [value]


def _row(name: str, text: str) -> str:
    return f"{name:{_WIDTH}}{text}"
