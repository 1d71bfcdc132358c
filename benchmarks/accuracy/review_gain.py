"""What a minute of review buys: accuracy after retraining on N corrections, chosen by the review policy or at random.

    python -m benchmarks.accuracy.review_gain FACESET --to FOLDER [--counts 0 100 500 2000] [--seeds 1] [--png docs/images/review-gain.png]

Some training faces (--base) make a first model. It labels the others, as a night would; a simulated reviewer, who says what the set's
majority says, is shown the N that `fer_core.review.choice` asks first, or N at random. A challenger is then tuned as `ferflow retrain`
does it: from the first model, with the base faces and the reviewed ones. N = 0 is the same tuning without any. All are scored on `valid` by
the majority protocol; differences to the first model with their one-sided 95 % bounds. What is done already is not done again.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_core.evaluation.evaluate import majority_classes, score
from fer_core.faceset import FaceSplit, Row, read_card, read_rows, read_split, write_card, write_split
from fer_core.labels import EXPRESSIONS
from fer_core.models.store import CARD, ModelRef, resolve_model
from fer_core.predict.predictor import Predictor
from fer_core.review.candidates import Candidates
from fer_core.review.choice import by_priority, review_priority, shuffled
from fer_core.training.config import TrainConfig
from fer_core.training.paired_bootstrap import compare_paired
from fer_core.training.retraining import plan_retraining
from fer_core.training.train import Sources, train

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POLICIES = ("worth", "random")


@dataclass(frozen=True, slots=True)
class Tuned:
    """One challenger."""

    policy: str
    count: int
    seed: int
    digest: str
    wrong: float
    """Share of the reviewed faces that the first model had wrong."""
    accuracy: float
    macro_f1: float
    gain: float
    lower: float
    upper: float


def main() -> None:
    """See the module's text."""
    args = _arguments()
    args.to.mkdir(parents=True, exist_ok=True)
    base, pool = _divided(args)
    first = _first(base, args)
    valid = read_split(args.faceset, "valid", luma=True)
    truth, kept = majority_classes(valid.votes, valid.kind)
    judged = Judge(valid.take(kept), truth, _said(first, valid.take(kept)))
    rows = [
        _challenger(policy, count, seed, base, pool, first, judged, args) for seed in range(args.seeds) for policy, count in _plan(args)
    ]
    told = {"base": read_card(base).counts["train"], "pool": read_card(pool).counts["train"], "first": _figures(judged, first)}
    (args.to / "review_gain.json").write_text(json.dumps({**told, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    print(page(told, rows))
    if args.png:
        draw(told, rows, args.png)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faceset", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--counts", type=int, nargs="+", default=[0, 100, 500, 2000])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--base", type=int, default=3000, help="faces of the first model")
    parser.add_argument("--first-epochs", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=8, help="of each tuning")
    parser.add_argument("--start", choices=("from champion", "from random weights"), default="from champion")
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--png", type=Path)
    return parser.parse_args()


def _plan(args: argparse.Namespace) -> list[tuple[str, int]]:
    """Nothing reviewed is nothing reviewed, whatever the policy."""
    return [("none", 0)] * (0 in args.counts) + [(policy, count) for count in args.counts if count for policy in POLICIES]


def _divided(args: argparse.Namespace) -> tuple[Path, Path]:
    """The training split, divided by the digest of its groups, the first part with the validation split's pictures held out."""
    card = read_card(args.faceset)
    limit = args.base / card.counts["train"]
    base, pool = args.to / "base", args.to / "pool"
    for folder, first in ((base, True), (pool, False)):
        if not (folder / "faceset.json").is_file():
            folder.mkdir(exist_ok=True)
            count = write_split(folder, "train", (row for row in read_rows(args.faceset, "train") if (_share(row) < limit) is first))
            write_card(folder, replace(card, counts={"train": count}, per_class={}, digests={}))
    return base, pool


def _share(row: Row) -> float:
    return int(hashlib.sha256(f"review {row['group']}".encode()).hexdigest()[:8], 16) / 2.0**32


def _first(base: Path, args: argparse.Namespace) -> ModelRef:
    config = TrainConfig(name="first", epochs=args.first_epochs, learning_rate=0.05, balance=0.3, patience=0)
    if not (args.to / "first" / CARD).is_file():
        print("first model", file=sys.stderr, flush=True)
        train(Sources((base,)), args.to, config, args.device, resume=True)
    return resolve_model(str(args.to / "first"))


@dataclass(frozen=True, slots=True)
class Judge:
    """The faces that all are scored on."""

    faces: FaceSplit
    truth: NDArray[np.int64]
    first: NDArray[np.float64]
    """(N, 8) what the first model says."""


def _said(model: ModelRef, faces: FaceSplit) -> NDArray[np.float64]:
    return Predictor(model).probabilities(faces.crops)


def _figures(judged: Judge, model: ModelRef) -> dict[str, Any]:
    found = score(judged.first, judged.truth, judged.faces.classes)
    return {"digest": model.digest, "accuracy": found.accuracy, "macro_f1": found.macro_f1, "faces": found.n}


def _challenger(  # noqa: PLR0917  (a table of plain values)
    policy: str, count: int, seed: int, base: Path, pool: Path, first: ModelRef, judged: Judge, args: argparse.Namespace
) -> Tuned:
    """Review, tune, score."""
    name = f"{policy}-{count}-{seed}"
    file = args.to / f"{name}.json"
    if file.is_file():
        return Tuned(**json.loads(file.read_text()))
    print(name, file=sys.stderr, flush=True)
    reviewed, wrong = _reviewed(policy, count, seed, pool, first, args) if count else (None, 0.0)
    config = TrainConfig(epochs=args.epochs, learning_rate=args.learning_rate, balance=0.3, patience=0, seed=seed)
    found = plan_retraining((base,), reviewed, first, config, args.start)
    model = train(found.sources, args.to, replace(found.config, name=name), args.device, resume=True)
    said = _said(model, judged.faces)
    figures = score(said, judged.truth, judged.faces.classes)
    apart = compare_paired(judged.truth, judged.first.argmax(1), said.argmax(1)).accuracy
    row = Tuned(policy, count, seed, model.digest, wrong, figures.accuracy, figures.macro_f1, apart.gain, apart.lower, apart.upper)
    file.write_text(json.dumps(asdict(row)))
    return row


def _reviewed(  # noqa: PLR0917  (a table of plain values)
    policy: str, count: int, seed: int, pool: Path, first: ModelRef, args: argparse.Namespace
) -> tuple[Path, float]:
    """The face set that the simulated reviewer leaves, and how much of it the first model had wrong."""
    faces = read_split(pool, "train", luma=True)
    truth, kept = majority_classes(faces.votes, faces.kind)
    faces = faces.take(kept)
    candidates = _candidates(faces, _said(first, faces))
    order = _by_worth(candidates) if policy == "worth" else shuffled(candidates, seed)
    chosen = order[:count]
    ids = {faces.ids[i]: EXPRESSIONS[truth[i]] for i in chosen}
    folder = args.to / f"reviewed-{policy}-{count}-{seed}"
    folder.mkdir(exist_ok=True)
    rows = ({**row, "label": ids[row["sample_id"]], "source": "reviewed"} for row in read_rows(pool, "train") if row["sample_id"] in ids)
    written = write_split(folder, "train", rows)
    write_card(folder, replace(read_card(pool), name="reviewed", kind="single", counts={"train": written}, per_class={}, digests={}))
    return folder, float((candidates.probabilities[chosen].argmax(1) != truth[chosen]).mean())


def _by_worth(candidates: Candidates) -> NDArray[np.intp]:
    """One model and one night: nothing disagrees and nothing drifts."""
    nothing = np.zeros(len(candidates))
    return by_priority(candidates, review_priority(candidates, nothing, nothing).total)


def _candidates(faces: FaceSplit, probabilities: NDArray[np.float64]) -> Candidates:
    """As one night over pictures of one face each would give them."""
    count = len(faces)
    digests, image = np.unique(np.array(faces.pictures), return_inverse=True)
    same = np.zeros(count, np.int64)
    return Candidates(
        rows=np.arange(count),
        digests=pa.array(digests),
        image=image.astype(np.int64),
        boxes=np.tile(np.array([0, 0, 112, 112], np.float32), (count, 1)),
        probabilities=probabilities,
        size_px=np.full(count, 112.0),
        sharpness=np.full(count, 1e9),
        yaw_deg=np.zeros(count),
        model=same,
        detector=same,
        pipelines=pa.array(["one"]),
        pipeline=same,
        day=same,
    )


def page(told: dict[str, Any], rows: Sequence[Tuned]) -> str:
    """Markdown."""
    first = told["first"]
    lines = [
        f"First model `{first['digest'][:12]}`: {told['base']:,} faces, accuracy {first['accuracy']:.2%}, macro F1 {first['macro_f1']:.3f}"
    ]
    lines[0] += f" on {first['faces']:,} faces. Pool to review: {told['pool']:,} faces."
    lines += [
        "",
        "| reviewed | chosen | seed | of them wrong | accuracy | gain | bounds | macro F1 |",
        "|---:|---|---:|---:|---:|---:|---|---:|",
    ]
    for row in rows:
        bounds = f"{100 * row.lower:+.1f} to {100 * row.upper:+.1f}"
        figures = f"{row.accuracy:.2%} | {100 * row.gain:+.2f} | {bounds} | {row.macro_f1:.3f}"
        lines.append(f"| {row.count:,} | {row.policy} | {row.seed} | {row.wrong:.0%} | {figures} |")
    return "\n".join(lines)


def draw(told: dict[str, Any], rows: Sequence[Tuned], file: Path) -> None:
    """Gains over the number of reviewed faces."""
    from fer_core.evaluation.plots.paper import MARKS, SERIES, heading, inches, sheet

    with sheet(file, 9.6, 4.9) as figure:
        first = told["first"]
        start = f"first model: {told['base']:,} faces, accuracy {first['accuracy']:.1%}, macro F1 {first['macro_f1']:.3f}"
        heading(
            figure,
            "What reviewed faces buy",
            (start, "bars: one-sided 95 % bounds of the difference on the same faces; lines: means over seeds"),
        )
        left, right = (figure.add_axes(inches(figure, place, 0.75, 3.75, 2.85)) for place in (0.85, 5.6))
        for index, policy in enumerate(POLICIES):
            seen = [row for row in rows if row.policy in {policy, "none"}]
            shift = 0.97 + 0.06 * index
            style = {"color": SERIES[index], "marker": MARKS[index]}
            counts = [max(row.count, 30) * shift for row in seen]
            reach = [[100 * (row.gain - row.lower) for row in seen], [100 * (row.upper - row.gain) for row in seen]]
            left.errorbar(counts, [100 * row.gain for row in seen], yerr=reach, capsize=2, linestyle="none", alpha=0.6, **style)
            right.scatter(counts, [row.macro_f1 - first["macro_f1"] for row in seen], alpha=0.6, **style)
            steps = sorted({row.count for row in seen})
            places = [max(count, 30) * shift for count in steps]
            label = "the review policy" if policy == "worth" else "random"
            left.plot(
                places, [100 * _mean(row.gain for row in seen if row.count == count) for count in steps], label=label, color=SERIES[index]
            )
            gains = [_mean(row.macro_f1 for row in seen if row.count == count) - first["macro_f1"] for count in steps]
            right.plot(places, gains, color=SERIES[index])
        _finish(left, "accuracy, points")
        _finish(right, "macro F1")
        left.legend(loc="upper left", fontsize=9)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _finish(axes: "Axes", title: str) -> None:
    axes.set_xscale("log")
    axes.set_xticks([30, 100, 500, 2000], ["0", "100", "500", "2,000"])
    axes.minorticks_off()
    axes.axhline(0, color="#999999", linewidth=0.8)
    axes.set_xlabel("reviewed faces")
    axes.set_title(f"Gain in {title}", loc="left", fontsize=10)


if __name__ == "__main__":
    main()
