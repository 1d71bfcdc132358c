"""Plan of a retraining: its face sets, its configuration and the faces of the comparison."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from fer_core.errors import TrainingError
from fer_core.faceset import read_card
from fer_core.hashing import json_sha256
from fer_core.models.card import ModelRef
from fer_core.models.store import load_model
from fer_core.training.config import TrainConfig
from fer_core.training.train import Sources

How = Literal["from champion", "from random weights"]
Tune = Literal["all", "head"]
"""What of the champion learns: the whole network, or its class centers and class bias alone (`head_tuning`)."""

FEWEST: Final = 100
"""Reviewed training faces that a retraining without any other face set needs."""
FEWEST_OF_CLASS: Final = 10
"""Least training faces of a class."""
FEWEST_CLASSES: Final = 3
"""Classes with `FEWEST_OF_CLASS` faces: with one or two, a model forgets the others."""
FEWEST_HELD_OUT: Final = 30


@dataclass(frozen=True, slots=True)
class RetrainingPlan:
    """One training run, ready to start or to resume."""

    sources: Sources
    config: TrainConfig
    judge: Path
    """Face set whose held-out faces are used for the comparison; with `tune` = `head` its training faces, by cross-validation."""
    tune: Tune = "all"


def plan_retraining(base: tuple[Path, ...], reviewed: Path | None, champion: ModelRef, config: TrainConfig, how: How) -> RetrainingPlan:
    """From face sets to a run. The same sets, champion and configuration give the same name, so that an interrupted run is found again.

    base: the first one is for the comparison. reviewed: its rows take precedence over rows of the same picture in the others; without base
    sets it must be enough by itself. TrainingError: there are no training faces, too few, or too few classes.
    """
    if not base and reviewed is None:
        raise TrainingError("there are no training faces: name a face set, or a labels root with reviewed faces")
    if not base and reviewed is not None:
        check_enough(reviewed)
    empty = reviewed is not None and not read_card(reviewed).counts.get("train")
    corrections = () if reviewed is None or empty else (reviewed,)
    if how == "from champion":
        network, _ = load_model(champion)
        config = replace(config, network=network.config)
        sources = Sources((*base, *corrections), (champion,), champion, prevailing=corrections if base else ())
    else:
        sources = Sources((*base, *corrections), prevailing=corrections if base else ())
    named = replace(config, name="challenger")
    name = f"challenger-{json_sha256({'config': named.to_json(), 'sources': sources.to_json()})[:12]}"
    return RetrainingPlan(sources, replace(config, name=name), base[0] if base else sources.facesets[0])


def plan_tuning(reviewed: Path, champion: ModelRef, config: TrainConfig) -> RetrainingPlan:
    """To refit the champion's head to the reviewed faces of a set, all of which are in its `train` split."""
    sources = Sources((reviewed,), start=champion)
    name = f"tuned-{json_sha256({'sources': sources.to_json()})[:12]}"
    return RetrainingPlan(sources, replace(config, name=name), reviewed, "head")


def check_enough(reviewed: Path) -> None:
    """TrainingError: reviewed faces alone are too few, or of too few classes; its message lists what is missing."""
    card = read_card(reviewed)
    train = card.per_class.get("train", {})
    held_out = sum(card.counts.get(split, 0) for split in ("valid", "test"))
    missing = []
    if card.counts.get("train", 0) < FEWEST:
        missing.append(f"{FEWEST - card.counts.get('train', 0)} more reviewed training faces (there are {card.counts.get('train', 0)})")
    fit = [name for name, count in train.items() if count >= FEWEST_OF_CLASS]
    if len(fit) < FEWEST_CLASSES:
        rest = ", ".join(f"{name} {count}" for name, count in sorted(train.items(), key=lambda one: -one[1]) if count) or "none"
        missing.append(f"at least {FEWEST_OF_CLASS} faces of each of {FEWEST_CLASSES} expressions (there are: {rest})")
    if held_out < FEWEST_HELD_OUT:
        missing.append(f"{FEWEST_HELD_OUT - held_out} more reviewed held-out faces (there are {held_out})")
    if missing:
        raise TrainingError("the reviewed faces alone are not enough to retrain on; missing: " + "; ".join(missing))
