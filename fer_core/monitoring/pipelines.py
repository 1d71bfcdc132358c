"""What ran: each combination of model, detector and settings that labelled a root, with the figures of the model's card."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fer_core.commit.manifest import Manifest
from fer_core.errors import ModelError
from fer_core.models.card import SHIPPED, ModelRef, read_model
from fer_core.monitoring.runs import RunFindings

FIGURES: Final = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1", "ece": "calibration error"}
"""Of a card, and what they are called."""
GAPS: Final = 6
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Score:
    """Figures on one set of faces."""

    on: str
    faces: int
    values: tuple[float | None, ...]
    """In the order of `FIGURES`; None for what the card does not say."""


@dataclass(frozen=True, slots=True)
class CardSummary:
    """Of a model whose card is on this machine."""

    trained_on: tuple[str, ...]
    """Names of face sets."""
    scores: tuple[Score, ...]
    gaps: tuple[str, ...]
    """Known gaps, a sentence each."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One combination, and the runs that used it."""

    model_name: str
    model_digest: str
    detector: str
    settings: tuple[tuple[str, str], ...]
    """Name and value of what changes answers."""
    runs: int
    images: int
    faces: int
    first_day: str
    last_day: str
    card: CardSummary | None
    """None where the model is not on this machine."""


def pipelines_of(runs: Sequence[RunFindings]) -> list[Pipeline]:
    """The newest first. runs: oldest first."""
    by_digest: dict[str, list[Manifest]] = {}
    for run in runs:
        by_digest.setdefault(run.manifest.pipeline_digest, []).append(run.manifest)
    newest = sorted(by_digest.values(), key=lambda some: some[-1].started_at, reverse=True)
    return [_pipeline(some) for some in newest]


def purposes_of(runs: Sequence[RunFindings]) -> list[tuple[str, int]]:
    """Stated purposes, empty where none was, and their runs; the commonest first."""
    counts = Counter(run.manifest.purpose.strip() for run in runs)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _pipeline(manifests: Sequence[Manifest]) -> Pipeline:
    newest = manifests[-1]
    config = newest.config
    precision = config.get("precision")
    settings = {
        "class prior": str(config.get("prior", "training")),
        "smallest face": str(config["min_face"]) if config.get("min_face") else f"{config.get('min_face_px', 16):g} px",
        "turned pictures": "searched" if config.get("turned") else "not searched",
        "marked for review": "by the model's rule" if precision is None else f"for a precision of {precision}",
    }
    return Pipeline(
        model_name=newest.model_name,
        model_digest=newest.model_digest,
        detector=newest.detector,
        settings=tuple(settings.items()),
        runs=len(manifests),
        images=sum(sum(one.statuses.values()) for one in manifests),
        faces=sum(one.faces for one in manifests),
        first_day=manifests[0].run_date,
        last_day=newest.run_date,
        card=_card(str(config.get("model", "")), newest.model_name, newest.model_digest),
    )


def _card(place: str, name: str, digest: str) -> CardSummary | None:
    """Of the model of this digest, in the folder that the run names or among those that are shipped."""
    folders = [Path(place)] if place.startswith("/") else []
    folders += [SHIPPED / one for one in (place, name) if _NAME.fullmatch(one) and one.strip(".")]
    found = next((model for model in map(_model, folders) if model is not None and model.digest == digest), None)
    return None if found is None else _summary(found.card)


def _model(folder: Path) -> ModelRef | None:
    try:
        return read_model(folder)
    except ModelError:
        return None


def _summary(card: dict[str, Any]) -> CardSummary:
    """What can be read of a card; its other parts are those of another release."""
    sets, gaps, unseen, figures = (card.get(name) for name in ("trained_on", "known_gaps", "unseen", "figures"))
    scored = [(f"held-out faces, {protocol} of the votes", some) for protocol, some in figures.items()] if isinstance(figures, dict) else []
    scored += [(f"{unseen.get('set', 'another set')}, not trained on", unseen)] if isinstance(unseen, dict) else []
    names = [str(one.get("name", "")) for one in sets if isinstance(one, dict)] if isinstance(sets, list) else []
    return CardSummary(
        trained_on=tuple(dict.fromkeys(names)),  # the same faces may have been framed by several detectors
        scores=tuple(_score(on, some) for on, some in scored if isinstance(some, dict) and type(some.get("n")) is int),
        gaps=tuple(str(one) for one in gaps[:GAPS]) if isinstance(gaps, list) else (),
    )


def _score(on: str, figures: dict[str, Any]) -> Score:
    values = (figures.get(name) for name in FIGURES)
    return Score(on, figures["n"], tuple(float(value) if isinstance(value, int | float) else None for value in values))
