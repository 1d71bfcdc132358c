"""What each part of the method is worth: five losses times three sets of features, trained alike and scored on the validation split.

python -m benchmarks.accuracy.ablation FACESET --to FOLDER                          every cell, three seeds (for a GPU: hours on a CPU)
python -m benchmarks.accuracy.ablation FACESET --to FOLDER --cells needed --base benchmarks/accuracy/half_width.json   two hours of a core

Each run is `ferflow train` in a process of its own, `--jobs` of them at a time; what is done already is not done again. Writes
ablation.json and ablation.md. Same budget: the same faces, epochs, batches, augmentation and seeds; only loss and features differ.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.accuracy.paired_seeds import SeedFigures, differences_table, means_table
from fer_core.evaluation.evaluate import Evaluation, Protocol, evaluate
from fer_core.faceset import Row, read_card, read_rows, write_card, write_split
from fer_core.models.store import CARD, resolve_model
from fer_core.training.config import TrainConfig

HEADS: dict[str, dict[str, Any]] = {
    "center_cosine": {
        "network": {"logit_scale": 8.0},
        "loss": {"margin": 0.05, "margin_start": 1 / 3, "compactness": 0.1},
        "centers": "sphere",
    },
    "cosface": {"network": {"logit_scale": 16.0}, "centers": "sphere"},
}
"""What a loss needs beside its usual numbers where `--base` gives all cells one head: a norm without scale and bias, a class bias."""
LOSSES = ("cross_entropy", "center", "cosface", "island", "center_cosine")
FEATURES: dict[str, dict[str, Any]] = {
    "last stage": {"taps": (3,), "attention": False},
    "multiscale": {"taps": (0, 1, 2, 3), "attention": False},
    "multiscale + channel attention": {"taps": (0, 1, 2, 3), "attention": True},
}
FULL = "multiscale + channel attention"
PROTOCOLS: tuple[Protocol, ...] = ("majority", "argmax")


@dataclass(frozen=True, slots=True)
class Cell:
    """One way to train."""

    loss: str
    features: str
    seed: int

    @property
    def name(self) -> str:
        """Folder of its model."""
        words = self.features.replace(" + channel attention", "-attention").replace(" ", "-")
        return f"{self.loss.replace('_', '-')}-{words}-{self.seed}"


def cells(which: str, seeds: int) -> list[Cell]:
    """`all`: all losses and features; `full`: all of our features; `cross`: what differs from ours in one thing, and the plainest;
    `needed`: all losses on our features, and our loss and cross-entropy on all features, the most telling first."""
    pairs = [(loss, features) for loss in LOSSES for features in FEATURES]
    if which == "needed":
        pairs = [p for p in pairs if p[1] == FULL or p[0] in {"center_cosine", "cross_entropy"}]
        pairs.sort(key=lambda p: (p[1] != FULL, p[0] not in {"center_cosine", "cross_entropy"}))
    if which == "full":
        pairs = [pair for pair in pairs if pair[1] == FULL]
    if which == "cross":
        pairs = [p for p in pairs if p[1] == FULL or p[0] == "center_cosine" or p == ("cross_entropy", "last stage")]
    return [Cell(loss, features, seed) for seed in range(seeds) for loss, features in pairs]


def main() -> None:
    """See the module's text."""
    args = _arguments()
    args.to.mkdir(parents=True, exist_ok=True)
    faceset = _subset(args.faceset, args.faces, args.to / f"faces-{args.faces}") if args.faces else args.faceset
    chosen = [cell for cell in cells(args.cells, args.seeds) if cell.loss in args.losses]
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(lambda cell: _train(cell, faceset, args), chosen))
    if args.only_train:
        return
    results = [_result(cell, args) for cell in chosen]
    shared = json.loads(args.base.read_text(encoding="utf-8")) if args.base else {}
    network = "a narrower `tiny`" if args.base else f"`{args.network}`"
    epochs = shared.get("epochs", args.epochs)
    budget = {"faces": read_card(faceset).counts["train"], "epochs": epochs, "network": network, "base": shared, "seeds": args.seeds}
    (args.to / "ablation.json").write_text(json.dumps({"budget": budget, "runs": results}, indent=2) + "\n", encoding="utf-8")
    page = _page(results, budget)
    (args.to / "ablation.md").write_text(page, encoding="utf-8")
    print(page)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faceset", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--cells", choices=("all", "full", "cross", "needed"), default="all")
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=LOSSES, help="of the cells, only those with these losses")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--faces", type=int, default=0, help="train on about this many faces only (default: all)")
    parser.add_argument("--network", default="tiny", help="tiny or base")
    parser.add_argument("--base", type=Path, help="JSON of a training that all cells share, instead of --network and --epochs")
    parser.add_argument("--unseen", nargs="*", default=[], metavar="FACESET:SPLIT", help="further sets to score the models on")
    parser.add_argument("--only-train", action="store_true", help="leave the figures to a later call")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    return parser.parse_args()


def _subset(faceset: Path, faces: int, to: Path) -> Path:
    """About so many training faces, chosen by digest; the validation split is scored on the whole set."""
    card = read_card(faceset)
    limit = int(faces / card.counts["train"] * 2**32)
    if not (to / "faceset.json").is_file():
        count = write_split(to, "train", _drawn(read_rows(faceset, "train"), limit))
        write_card(to, replace(card, counts={"train": count}, per_class={}, digests={}))
    return to


def _drawn(rows: Iterator[Row], limit: int) -> Iterator[Row]:
    """Not by the digest that carves the held-back part off, or that would be a part of this one."""
    return (row for row in rows if int(hashlib.sha256(f"ablation {row['group']}".encode()).hexdigest()[:8], 16) < limit)


def _train(cell: Cell, faceset: Path, args: argparse.Namespace) -> None:
    config: dict[str, Any] = {
        "name": cell.name,
        "network": {"size": args.network, **FEATURES[cell.features]},
        "loss": {"kind": cell.loss},
        "epochs": args.epochs,
        "patience": 0,
        "seed": cell.seed,
    }
    if args.base:
        base, own = json.loads(args.base.read_text(encoding="utf-8")), HEADS.get(cell.loss, {})
        config |= {**base, "centers": own.get("centers", "free"), "loss": {"kind": cell.loss, **own.get("loss", {})}}
        config["network"] = {**base["network"], **own.get("network", {}), **FEATURES[cell.features]}
    if (args.to / cell.name / CARD).is_file():
        done = resolve_model(str(args.to / cell.name)).card["training"]
        if done != json.loads(json.dumps(TrainConfig.from_json(config).to_json())):
            sys.exit(f"{args.to / cell.name} was trained in another way: choose another folder with --to")
        return
    file = args.to / f"{cell.name}.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-P", "-m", "flows.cli.main", "train", str(faceset), "--to", str(args.to), "--config", str(file), "--resume"]
    threads = str(max(1, (os.cpu_count() or 1) // args.jobs))
    print(cell.name, file=sys.stderr, flush=True)
    environment = {"OMP_NUM_THREADS": threads, **os.environ}
    subprocess.run([*command, "--device", args.device], check=True, env=environment, stdout=subprocess.DEVNULL)


def _result(cell: Cell, args: argparse.Namespace) -> dict[str, Any]:
    """Figures of one run, kept beside its model: the validation split by the whole class prior, unseen people by the default one."""
    kept = args.to / cell.name / "scores.json"
    unseen = {Path(folder).name: (Path(folder), split) for folder, _, split in (place.rpartition(":") for place in args.unseen)}
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        if found.get("unseen") == list(unseen):
            return found
    folder = str(args.to / cell.name)
    figures: dict[str, dict[str, float]] = {}
    for protocol in PROTOCOLS:
        figures[protocol] = _figures(evaluate(args.faceset, folder, "valid", protocol, prior="training"))
    away = {name: _figures(evaluate(place, folder, split, "argmax")) for name, (place, split) in unseen.items()}
    result = {**asdict(cell), "digest": resolve_model(folder).digest, **figures, "unseen": list(away), **away}
    kept.write_text(json.dumps(result), encoding="utf-8")
    return result


def _figures(found: Evaluation) -> dict[str, float]:
    return {"accuracy": found.accuracy, "balanced": found.balanced_accuracy, "macro_f1": found.macro_f1, "ece": found.ece}


def _page(results: Sequence[dict[str, Any]], budget: dict[str, Any]) -> str:
    """Means of all cells, and what each gains or loses against ours, seed by seed."""
    sets = ["majority", "argmax", *results[0]["unseen"]]
    names = {"accuracy": "accuracy", "balanced": "balanced", "macro_f1": "macro F1"}
    measures = {f"{part}.{name}": f"{part}: {title}" for part in sets for name, title in names.items()}
    rows = {
        (loss, features): SeedFigures(f"{loss.replace('_', ' ')} | {features}", seeds)
        for loss in LOSSES
        for features in FEATURES
        if (seeds := {r["seed"]: _flat(r, measures) for r in results if (r["loss"], r["features"]) == (loss, features)})
    }
    head = f"{budget['network']}, {budget['faces']} training faces, {budget['epochs']} epochs, {budget['seeds']} seed(s); FER+ validation"
    lines = [f"{head}{''.join(f', {name}' for name in results[0]['unseen'])}. Percent, mean ± standard deviation over the seeds.", ""]
    lines += means_table(list(rows.values()), "loss | features", measures)
    if (ours := rows.get(("center_cosine", FULL))) is not None:
        lines += ["", f"Less the figures of center cosine with {FULL}, in points: mean ± standard error over the paired seeds.", ""]
        lines += differences_table(list(rows.values()), ours, "loss | features", measures)
    return "\n".join(lines) + "\n"


def _flat(result: dict[str, Any], measures: Iterable[str]) -> dict[str, float]:
    return {measure: float(result[measure.split(".")[0]][measure.split(".")[1]]) for measure in measures}


if __name__ == "__main__":
    main()
