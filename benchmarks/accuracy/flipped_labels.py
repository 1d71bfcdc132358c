"""How many flipped labels `ferflow dataset audit` finds: a share of a face set's labels is changed at random, then the set is audited.

    python -m benchmarks.accuracy.flipped_labels FACESET [--split test] [--folds 5] [--noise likely]

`uniform` flips to any other expression of the set. `likely` draws each other expression with the probability that the model gives it on
average to faces with the label. The set's own errors stay in it and count as false alarms, so that the precision is a lower bound.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.evaluation.evaluate import majority_classes
from fer_core.faceset import VOTE_COLUMNS, faceset_digest, read_card, read_rows, read_split
from fer_core.faceset.card import write_card
from fer_core.faceset.writer import FaceSetWriter
from fer_core.labels import EXPRESSIONS
from fer_core.models.card import ModelRef
from fer_core.models.store import resolve_model
from fer_core.predict.predictor import Predictor
from fer_core.training.label_audit import AuditRequest, LabelAudit, audit_labels

BESIDE: Final = (0.5, 1.0, 2.0)
"""Faces listed, in parts of those that were flipped."""


def labelled(folder: Path, splits: tuple[str, ...]) -> list[tuple[str, int, int]]:
    """Split, row and class of each face that the majority protocol keeps."""
    found = list[tuple[str, int, int]]()
    for split in splits:
        votes = read_split(folder, split, luma=True)
        classes, kept = majority_classes(votes.votes, votes.kind)
        found += [(split, int(row), int(number)) for row, number in zip(kept, classes, strict=True)]
    return found


def flip(classes: NDArray[np.int64], count: int, seed: int, chances: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(N,) labels, chances (K, K) of each other class -> labels with `count` changed, and which. The diagonal of `chances` is 0."""
    random = np.random.default_rng(seed)
    which, after = np.sort(random.choice(len(classes), count, replace=False)), classes.copy()
    for face in which:
        row = chances[classes[face]]
        after[face] = random.choice(len(row), p=row / row.sum())
    return after, np.isin(np.arange(len(classes)), which)


def write_flipped(folder: Path, to: Path, faces: list[tuple[str, int, int]], after: NDArray[np.int64]) -> None:
    """A face set of single labels: those of `after`."""
    label = {(split, row): EXPRESSIONS[number] for (split, row, _), number in zip(faces, after, strict=True)}
    card = read_card(folder)
    with FaceSetWriter(to) as writer:
        for split in dict.fromkeys(split for split, _, _ in faces):
            for number, row in enumerate(read_rows(folder, split)):
                if (split, number) in label:
                    writer.add({**row, **dict.fromkeys(VOTE_COLUMNS), "label": label[split, number]})
        write_card(to, writer.finish(replace(card, kind="single")))


def chances_of(kind: str, model: ModelRef, folder: Path, faces: list[tuple[str, int, int]]) -> NDArray[np.float64]:
    """(8, 8) how a label is flipped: from rows to columns."""
    classes = np.array([number for _, _, number in faces])
    there = np.bincount(classes, minlength=len(EXPRESSIONS)) > 0
    chances = np.tile(there.astype(np.float64), (len(EXPRESSIONS), 1))
    if kind == "likely":
        crops = {split: read_split(folder, split, luma=True).crops for split in dict.fromkeys(split for split, _, _ in faces)}
        probabilities = Predictor(model).probabilities(np.stack([crops[split][row] for split, row, _ in faces]))
        for number in np.flatnonzero(there):
            chances[number] = probabilities[classes == number].mean(axis=0) * there
    np.fill_diagonal(chances, 0)
    return chances


def measured(found: LabelAudit, flipped: NDArray[np.bool_], faces: list[tuple[str, int, int]]) -> tuple[list[float], list[float]]:
    """Precision and recall of the first candidates, for each of `BESIDE`."""
    row_of: dict[tuple[str, int], bool] = {}
    counts: dict[str, int] = {}
    for (split, _, _), wrong in zip(faces, flipped, strict=True):  # rows of the written set: faces without a label are left out
        row_of[split, counts.setdefault(split, 0)] = bool(wrong)
        counts[split] += 1
    hits = np.array([row_of[face.split, face.row] for face in found.found], np.float64)
    tops = [round(part * flipped.sum()) for part in BESIDE]
    return [float(hits[:top].mean()) for top in tops], [float(hits[:top].sum() / flipped.sum()) for top in tops]


def main() -> None:
    """Flip, audit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faceset", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--folds", type=int)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--noise", choices=("uniform", "likely"), default="uniform")
    args = parser.parse_args()
    model, splits = resolve_model(args.model), (args.split,) if args.split else tuple(read_card(args.faceset).counts)
    faces = labelled(args.faceset, splits)
    classes = np.array([number for _, _, number in faces])
    count, chances = round(args.share * len(faces)), chances_of(args.noise, model, args.faceset, faces)
    digest = faceset_digest(args.faceset)
    print(f"{digest[:12]} {','.join(splits)}: {len(faces)} labels, {count} flipped ({args.noise})")
    print(f"{model.name} {model.digest[:12]}, folds {args.folds}")
    precisions, recalls, shares = [], [], []
    for seed in range(args.seeds):
        after, flipped = flip(classes, count, seed, chances)
        with tempfile.TemporaryDirectory() as folder:
            write_flipped(args.faceset, Path(folder), faces, after)
            found = audit_labels(Path(folder), model, AuditRequest(folds=args.folds))
        precision, recall = measured(found, flipped, faces)
        precisions.append(precision)
        recalls.append(recall)
        shares.append(found.error_share)
        shown = " ".join(f"{value:.3f}" for value in precision)
        print(f"seed {seed}: {len(found.found)} candidates, wrong {found.error_share:.1%}, precision {shown}", flush=True)
    print(f"random: precision {count / len(faces):.3f}")
    for part, precision, recall in zip(BESIDE, np.array(precisions).T, np.array(recalls).T, strict=True):
        top = round(part * count)
        low, high, chance = precision.min(), precision.max(), top / len(faces)
        print(f"top {top}: precision {precision.mean():.3f} ({low:.3f}-{high:.3f}), recall {recall.mean():.3f} (random {chance:.3f})")
    print(f"wrong: {np.mean(shares):.1%} ({min(shares):.1%}-{max(shares):.1%}); without flips: ferflow dataset audit")


if __name__ == "__main__":
    main()
