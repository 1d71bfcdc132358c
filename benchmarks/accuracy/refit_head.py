"""Heads refitted on a model's frozen features: figures a set and prior, and models that can be shipped.

    python -m benchmarks.accuracy.frozen_features --model tiny --to FEATURES --set held=FERPLUS:held-back:plain \
           --set held=FERPLUS:held-back:corrupt:300 --set ferplus=FERPLUS:train:unmirrored,augment2 --set valid=FERPLUS:valid:plain \
           --set people=MUXSPACE:test:plain --set muxspace=MUXSPACE:train:plain,augment2
    python -m benchmarks.accuracy.refit_head FEATURES --ferplus FERPLUS --muxspace MUXSPACE --to FOLDER --head margin=0.05,compactness=0.1

`valid` and `people` never enter a fit. What is fitted beside the head (temperatures, review limits, curves of precision, novelty) comes
from the tenth of FER+ train that `carve_dev` holds back, plain and corrupted, and from people of muxspace that are held back, too. The best
head is not chosen here: every `--head` becomes a few lines, and FOLDER/NAME a model. Entries of a head and their defaults: see `Head`.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_core.evaluation.corruption import CORRUPTIONS
from fer_core.evaluation.evaluate import argmax_classes, majority_classes, score
from fer_core.faceset import FaceSplit, carve_dev, read_split, vote_targets
from fer_core.labels import EXPRESSIONS
from fer_core.losses.choice import build
from fer_core.losses.directions import unit
from fer_core.losses.objective import LossConfig
from fer_core.models.network import MultiscaleNet
from fer_core.models.prior import PRIORS
from fer_core.models.store import ModelRef, ModelSpec, load_model, resolve_model, save_model
from fer_core.predict.answer_rule import AnswerOptions, answer_rule
from fer_core.training.class_prior_fit import Cosines, Domain, HeldBack, calibration_told, fit_class_prior
from fer_core.training.dataset import balanced
from fer_core.training.optimizer import update_average, warmed
from fer_core.training.run import simplex
from fer_core.training.train import OTHERS

OTHER_PEOPLE = 0.1
"""Part of muxspace's training people that is held back, as `TrainConfig.dev_share_others` does."""
BATCH = 256


@dataclass(frozen=True)
class Head:
    """One way to fit."""

    scale: float = 8.0
    margin: float = 0.0
    compactness: float = 0.0
    separation: float = 1.0
    centers: str = "sphere"
    """sphere, simplex or free."""
    bias: bool = True
    affine: bool = False
    muxspace: int = 1
    """How often muxspace's training faces join FER+'s; 0: not at all."""
    more: int = 0
    """What joins of muxspace_more: 1 its labels, 2 the old head's answers alone."""
    balance: float = 0.0
    smoothing: float = 0.1
    """Of muxspace's single labels."""
    distill: float = 0.0
    """Part of the targets that the model's own head gives."""
    epochs: int = 8
    rate: float = 0.05
    start: str = "model"
    """Where the linear layer starts: `model` or `random`."""
    seed: int = 0

    @classmethod
    def read(cls, text: str) -> "Head":
        """name=value, comma separated."""
        kinds: dict[str, Any] = {f.name: f.type for f in dataclasses.fields(cls)}
        pairs = dict(part.split("=") for part in text.split(",") if part)
        made: dict[str, Any] = {name: value == "True" if kinds[name] is bool else kinds[name](value) for name, value in pairs.items()}
        return cls(**made)


@dataclass(frozen=True)
class Scored:
    """Faces with known classes, and their features."""

    name: str
    plain: Tensor
    mirrored: Tensor
    classes: NDArray[np.int64]
    present: tuple[str, ...]


def load(folder: Path, name: str) -> Tensor:
    return torch.from_numpy(np.load(folder / f"{name}.npz")["features"])


def scored(name: str, folder: Path, file: str, split: FaceSplit, protocol: str = "majority") -> Scored:
    classes, kept = majority_classes(split.votes, split.kind) if protocol == "majority" else argmax_classes(split.votes)
    if name == "muxspace":  # one face of contempt says nothing of that class
        seven = classes != EXPRESSIONS.index("contempt")
        classes, kept = classes[seven], kept[seven]
    places = torch.from_numpy(kept)
    return Scored(name, load(folder, f"{file}-plain")[places], load(folder, f"{file}-mirrored")[places], classes, split.classes)


class Fitted(nn.Module):
    """The part of a MultiscaleNet behind its features."""

    def __init__(self, network: MultiscaleNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        embeddings: Tensor = self.network.norm(self.network.fuse(features.float()))
        return embeddings

    def logits(self, features: Tensor) -> Tensor:
        return self.network.logits(self(features))


def said(head: Fitted, part: Scored) -> NDArray[np.float64]:
    """(N, 8) logits averaged over mirror images."""
    head.eval()
    with torch.inference_mode():
        return ((head.logits(part.plain) + head.logits(part.mirrored)) / 2).double().numpy()


def fresh(model: ModelRef, given: Head) -> MultiscaleNet:
    """The model's network with a new head."""
    old, spec = load_model(model)
    torch.manual_seed(given.seed)
    network = MultiscaleNet(dataclasses.replace(spec.network, affine=given.affine, class_bias=given.bias, logit_scale=given.scale))
    state = {k: v for k, v in old.state_dict().items() if not k.startswith("centers") and (given.affine or not k.startswith("norm."))}
    if given.start == "random":
        state = {k: v for k, v in state.items() if k != "fuse.2.weight"}
    network.load_state_dict(state, strict=False)
    if given.start == "model":
        network.centers.data = unit(old.centers.detach())
    if given.centers == "simplex":
        network.centers.data = simplex(network.centers.detach())
        network.centers.requires_grad_(False)
    return network


def fit(model: ModelRef, given: Head, passes: list[tuple[Tensor, Tensor, Tensor]]) -> Fitted:
    """passes: (features, targets, weights), one a pass over all faces; they take turns."""
    network = fresh(model, given)
    head, average = Fitted(network), Fitted(fresh(model, given))
    if network.class_bias is not None:
        shares = (passes[0][1].double() * passes[0][2].double()[:, None]).sum(0)
        for each in (head, average):
            assert each.network.class_bias is not None
            each.network.class_bias.data = (shares / shares.sum()).clamp_min(1e-5).log().float()
    config = LossConfig("center_cosine", given.margin, given.compactness, given.separation, margin_start=1 / 3)
    loss = build(config, given.scale, 8, network.config.embedding)
    learned = [p for n, p in network.named_parameters() if n.startswith(("fuse", "norm", "centers", "class_bias")) and p.requires_grad]
    decayed = [p for p in learned if p.ndim > 1 and p is not network.centers]
    others = [p for p in learned if p.ndim <= 1 or p is network.centers]
    groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": 5e-4}, {"params": others}]
    sgd = torch.optim.SGD(groups, lr=given.rate, momentum=0.9, nesterov=True)
    steps = len(passes[0][0]) // BATCH
    whole = steps * given.epochs
    own, mean = nn.ModuleList([network.fuse, network.norm]), nn.ModuleList([average.network.fuse, average.network.norm])
    for epoch in range(given.epochs):
        features, targets, weights = passes[epoch % len(passes)]
        order = torch.randperm(len(features), generator=torch.Generator().manual_seed(1000 * given.seed + epoch))
        own.train()
        for step in range(steps):
            done = epoch * steps + step
            loss.at(done / whole)
            for group in sgd.param_groups:
                group["lr"] = given.rate * min(1.0, (done + 1) / steps) * 0.5 * (1 + np.cos(np.pi * done / whole))
            rows = order[step * BATCH : (step + 1) * BATCH]
            sgd.zero_grad()
            value = loss(head(features[rows]), network.centers, targets[rows], weights[rows], network.class_bias)
            torch.autograd.backward(value)
            sgd.step()
            if given.centers == "sphere":
                network.centers.data = unit(network.centers.data)
            decay = warmed(0.995, done)
            update_average(mean, own, decay)
            for a, b in ((average.network.centers, network.centers), (average.network.class_bias, network.class_bias)):
                if a is not None and b is not None:
                    a.data.lerp_(b.data, 1 - decay)
    return average


def lines(name: str, ref: ModelRef, logits: dict[str, NDArray[np.float64]], sets: list[Scored]) -> list[dict[str, Any]]:
    """Figures of each prior and set."""
    _, spec = load_model(ref)
    found = []
    for prior in PRIORS if spec.prior is not None else PRIORS[:2]:
        rule = answer_rule(ref, spec, AnswerOptions(prior))
        row: dict[str, Any] = {"head": name, "digest": ref.digest, "prior": prior, "temperature": rule.temperature}
        for part in sets:
            told = rule.predictions(logits[part.name])
            figures = score(rule.probabilities(logits[part.name]), part.classes, part.present)
            kept = ~told.needs_review
            row[part.name] = {
                "accuracy": round(100 * figures.accuracy, 2),
                "balanced": round(100 * figures.balanced_accuracy, 2),
                "ece": round(figures.ece, 3),
                "aurc": round(figures.aurc, 3),
                "kept": round(100 * float(kept.mean()), 1),
                "right_of_kept": round(100 * float((told.expression == part.classes)[kept].mean()), 1),
            }
        found.append(row)
    return found


def table(rows: list[dict[str, Any]], sets: list[str]) -> str:
    """accuracy / balanced / ECE / AURC, right of kept."""
    text = [f"| head | prior | T | {' | '.join(sets)} |", "|---|---|---|" + "---|" * len(sets)]
    for row in rows:
        cells = [
            f"{r['accuracy']:.2f} / {r['balanced']:.2f} / {r['ece']:.3f} / {r['aurc']:.3f}, {r['right_of_kept']} of {r['kept']} %"
            for r in (row[name] for name in sets)
        ]
        text.append(f"| {row['head']} {row['digest'][:8]} | {row['prior']} | {row['temperature']:.2f} | {' | '.join(cells)} |")
    return "\n".join(text)


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--ferplus", type=Path, required=True)
    parser.add_argument("--valid", type=Path, help="another face set with FER+'s valid split, framed otherwise")
    parser.add_argument("--muxspace", type=Path, required=True)
    parser.add_argument("--more", type=Path, help="face set of muxspace_more")
    parser.add_argument("--head", action="append", default=[])
    parser.add_argument("--to", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    run(args)


@dataclass(frozen=True)
class Material:
    """Faces to fit a head on, and faces held back, in the splits' order."""

    ferplus: FaceSplit
    ferplus_rows: Tensor
    muxspace: FaceSplit
    muxspace_rows: Tensor
    own: Scored
    people: Scored
    corrupted: tuple[Scored, ...]


def material(args: argparse.Namespace) -> Material:
    """Read, and hold back what calibrates."""
    train, others = (read_split(folder, "train", luma=True) for folder in (args.ferplus, args.muxspace))
    rest, dev = carve_dev(train, 0.1)
    kept, held = carve_dev(others, OTHER_PEOPLE, OTHERS)
    place = {sample: i for i, sample in enumerate(train.ids)}
    where = {sample: i for i, sample in enumerate(others.ids)}
    classes, judged = majority_classes(dev.votes, dev.kind)
    truth = {place[dev.ids[face]]: int(true) for true, face in zip(classes, judged, strict=True)}

    def of_dev(name: str) -> Scored:
        index = np.load(args.features / f"{name}-plain.npz" if name == "held" else args.features / f"{name}.npz")["index"]
        rows = [row for row, face in enumerate(index.tolist()) if face in truth]
        plain = f"{name}-plain" if name == "held" else name
        parts = (load(args.features, file)[torch.tensor(rows)] for file in (plain, f"{name}-mirrored"))
        return Scored("held back" if name == "held" else name, *parts, np.array([truth[int(index[row])] for row in rows]), dev.classes)

    true, seen = majority_classes(held.votes, held.kind)
    at = torch.tensor([where[held.ids[face]] for face in seen])
    people = Scored("muxspace", *(load(args.features, f"muxspace-{kind}")[at] for kind in ("plain", "mirrored")), true, held.classes)
    spoilt = tuple(of_dev(f"held-{kind}-{strength}") for kind in CORRUPTIONS for strength in range(1, 6))
    rows, own = (torch.tensor([places[sample] for sample in part.ids]) for places, part in ((place, rest), (where, kept)))
    return Material(rest, rows, kept, own, of_dev("held"), people, spoilt)


def run(args: argparse.Namespace) -> None:
    """Fit every head, print and keep its figures, save it."""
    model, faces = resolve_model(args.model), material(args)
    sets = [
        faces.own,
        scored("FER+ valid", args.features, "valid", read_split(args.valid or args.ferplus, "valid", luma=True)),
        scored("muxspace", args.features, "people", read_split(args.muxspace, "test", luma=True)),
    ]
    names = [part.name for part in sets]
    rows = lines("as it is", model, {part.name: said(Fitted(load_model(model)[0]), part) for part in sets}, sets)
    print(table(rows, names), flush=True)
    for text in args.head:
        given, start = Head.read(text), time.process_time()
        head = fit(model, given, list(passes(args.features, faces, given, model, args.more)))
        ref = _saved(
            args.to / (text.replace("=", "").replace(",", "-") or "default"), head, faces, {"head": text, "features": model.digest}
        )
        own_rows = lines(text, ref, {part.name: said(head, part) for part in sets}, sets)
        rows += own_rows
        print("\n".join(table(own_rows, names).split("\n")[2:]), f"{time.process_time() - start:.0f} s", flush=True)
    args.to.mkdir(parents=True, exist_ok=True)
    with (args.to / "heads.jsonl").open("a") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


def passes(features: Path, faces: Material, given: Head, model: ModelRef, more: Path | None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(features, targets, weights) of FER+'s training faces and muxspace's: augmented, and as they are."""
    old, spec = load_model(model)
    teacher = Fitted(old).eval()
    for kind in ("augmented-0", "plain", "augmented-1"):
        parts = [(load(features, f"ferplus-{kind}")[faces.ferplus_rows], *vote_targets(faces.ferplus.votes, faces.ferplus.kind))]
        mux = load(features, f"muxspace-{kind}")[faces.muxspace_rows]
        parts += [(mux, *vote_targets(faces.muxspace.votes, faces.muxspace.kind, given.smoothing))] * given.muxspace
        if given.more and more is not None and kind != "augmented-1":
            further = read_split(more, "train", luma=True)
            vectors, (wanted, seen_by) = load(features, f"more-{kind}"), vote_targets(further.votes, further.kind, given.smoothing)
            if given.more == 2:
                with torch.inference_mode():
                    wanted = torch.softmax(teacher.logits(vectors) / spec.temperature, 1).numpy()
            parts.append((vectors, wanted, seen_by))
        found, targets, weights = (torch.cat([p[0] for p in parts]), *(np.concatenate([p[i] for p in parts]) for i in (1, 2)))
        seen = np.flatnonzero(weights > 0)
        if given.distill:
            with torch.inference_mode():
                taught = torch.softmax(teacher.logits(found) / spec.temperature, 1).numpy()
            targets = ((1 - given.distill) * targets + given.distill * taught).astype(np.float32)
        raised = balanced(targets[seen], weights[seen], given.balance)
        yield found[torch.from_numpy(seen)], torch.from_numpy(targets[seen]), torch.from_numpy(raised)


def _saved(folder: Path, head: Fitted, faces: Material, card: dict[str, Any]) -> ModelRef:
    network, config = head.network, head.network.config
    for tensor in network.state_dict().values():  # as it will be stored
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())
    own, people, *spoilt = (
        Domain(one.name, said(head, one), one.classes, np.ones(len(one.classes), np.bool_))
        for one in (faces.own, faces.people, *faces.corrupted)
    )
    held_back = HeldBack(own, (people,), tuple(spoilt))
    bias = np.zeros(8) if network.class_bias is None else network.class_bias.detach().double().numpy()
    prior = fit_class_prior(held_back, bias, Cosines(config.logit_scale, bias))
    training = prior.calibrations["training"]
    spec = ModelSpec(config, training.temperature, flip=True, review=training.review, prior=prior)
    told = {"name": "tiny", **card, **calibration_told(held_back, prior)}
    return save_model(folder, network.state_dict(), spec, told, half=True)


if __name__ == "__main__":
    main()
