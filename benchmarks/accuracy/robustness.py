"""How accurate models stay when faces are covered, turned, blurred, small or noisy.

    python -m benchmarks.accuracy.robustness FACESET --model A [--model B ...] [--split valid] [--protocol majority] [--seed 0] --to FOLDER

Writes robustness.json, robustness.md and robustness.png. Every model sees the same spoilt faces (`fer_core.evaluation.corruption`);
strength 0 is the face as it is. A model costs as much as scoring the split 26 times: --faces N takes an even sample of N faces.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import FaceSetError, FerflowError
from fer_core.evaluation.corruption import CORRUPTIONS, STRENGTHS, Corruption, corrupt
from fer_core.evaluation.evaluate import Protocol, argmax_classes, majority_classes, score
from fer_core.evaluation.plots import Trial, make_folder, robustness_png
from fer_core.faceset import FaceSplit, read_card, read_split
from fer_core.models.store import resolve_model

if TYPE_CHECKING:
    from fer_core.predict.predictor import Predictor


@dataclass(frozen=True, slots=True)
class Sample:
    """The faces that are scored. N of them."""

    name: str
    """Which faces, in words."""
    split: FaceSplit
    classes: NDArray[np.int64]
    """(N,) true classes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One model under one corruption of one strength."""

    model: str
    digest: str
    corruption: str
    """`clean` at strength 0."""
    strength: int
    amount: float
    unit: str
    accuracy: float
    macro_f1: float
    ece: float


def sample(faceset: Path, split: str, protocol: Protocol, most: int | None) -> Sample:
    """The split's faces that the protocol keeps, or an even sample of them."""
    whole = read_split(faceset, split)
    classes, kept = majority_classes(whole.votes, whole.kind) if protocol == "majority" else argmax_classes(whole.votes)
    if most is not None and most < len(kept):
        chosen = (np.arange(most) * len(kept)) // most
        classes, kept = classes[chosen], kept[chosen]
    if len(kept) == 0:
        raise FaceSetError(f"no face to score in split {split!r} under the {protocol} protocol")
    name = f"{read_card(faceset).name} {split} split, {protocol} protocol, {len(kept):,} faces"
    return Sample(name, whole.take(kept), classes)


def rows(predictors: Sequence["Predictor"], faces: Sample, seed: int) -> Iterator[Row]:
    """Clean first, then corruption by corruption; each spoilt set is made once for all models."""
    conditions: list[tuple[Corruption, int]] = [("occlusion", 0), *((kind, strength) for kind in CORRUPTIONS for strength in range(1, 6))]
    for kind, strength in conditions:
        crops = corrupt(faces.split.crops, kind, strength, seed, faces.split.ids)
        label, amount, unit = (kind, STRENGTHS[kind].amounts[strength - 1], STRENGTHS[kind].unit) if strength else ("clean", 0.0, "")
        for predictor in predictors:
            found = score(predictor.probabilities(crops), faces.classes, faces.split.classes)
            model = predictor.ref
            yield Row(model.name, model.digest, label, strength, amount, unit, found.accuracy, found.macro_f1, found.ece)


def told(found: Iterator[Row], count: int) -> list[Row]:
    """All rows; a line on standard error for each."""
    started, seen = time.monotonic(), list[Row]()
    for row in found:
        seen.append(row)
        left = (time.monotonic() - started) / len(seen) * (count - len(seen))
        what = f"{row.corruption} {row.amount:g}" if row.strength else "clean"
        sys.stderr.write(f"{len(seen):3d}/{count}  {what:18} {row.model} {row.digest[:12]}  {row.accuracy:.2%}  {left:.0f} s left\n")
        sys.stderr.flush()
    return seen


def trials(found: Sequence[Row]) -> list[Trial]:
    """One a model, in the order of the models."""
    made = []
    for clean in (row for row in found if row.strength == 0):
        own = [row for row in found if row.digest == clean.digest]
        accuracy = {kind: tuple(row.accuracy for row in own if row.corruption == kind) for kind in CORRUPTIONS}
        made.append(Trial(clean.model, clean.digest, clean.accuracy, accuracy))
    return made


def table(of: Sequence[Trial]) -> str:
    """Markdown: a line a corruption and model."""
    lines = ["| corruption | model | clean | 1 | 2 | 3 | 4 | 5 | mean of 1-5 |", "|---|---|---|---|---|---|---|---|---|"]
    for kind in CORRUPTIONS:
        scale = STRENGTHS[kind]
        what = f"{kind.replace('_', ' ')} ({', '.join(f'{amount:g}' for amount in scale.amounts)}: {scale.unit})"
        for trial in of:
            values = trial.accuracy[kind]
            cells = [f"{value:.1%}" for value in (trial.clean, *values, sum(values) / len(values))]
            lines.append(f"| {what} | {trial.model} `{trial.digest[:12]}` | {' | '.join(cells)} |")
            what = ""
    for trial in of:
        lines.append(f"| all five | {trial.model} `{trial.digest[:12]}` | {trial.clean:.1%} | | | | | | {trial.corrupted:.1%} |")
    return "\n".join(lines)


def measure(args: argparse.Namespace) -> str:
    """Score, write the three files, give the table."""
    refs = [resolve_model(model) for model in dict.fromkeys(args.model)]
    make_folder(args.to)
    faces = sample(args.faceset, args.split, args.protocol, args.faces)
    from fer_core.predict.predictor import Predictor

    unique = {ref.digest: ref for ref in refs}
    found = told(rows([Predictor(ref) for ref in unique.values()], faces, args.seed), 26 * len(unique))
    where = {"faceset": read_card(args.faceset).name, "split": args.split, "protocol": args.protocol, "n": len(faces.classes)}
    report = {**where, "seed": args.seed, "rows": [asdict(row) for row in found]}
    named = f"{faces.name}, seed {args.seed}"
    page = f"# Robustness\n\nAccuracy: {named}. The same spoilt faces for every model.\n\n{table(trials(found))}\n\n![](robustness.png)\n"
    (args.to / "robustness.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (args.to / "robustness.md").write_text(page, encoding="utf-8")
    robustness_png(trials(found), named, args.to / "robustness.png")
    return page


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faceset", type=Path)
    parser.add_argument("--model", action="append", required=True, help="shipped name or model folder; may be given several times")
    parser.add_argument("--split", default="valid")
    parser.add_argument("--protocol", choices=get_args(Protocol), default="majority")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faces", type=int, metavar="N", help="score an even sample of N faces")
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER")
    args = parser.parse_args(arguments)
    if args.faces is not None and args.faces < 1:
        parser.error("--faces is at least 1")
    try:
        print(measure(args))
    except FerflowError as error:
        print(f"robustness: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
