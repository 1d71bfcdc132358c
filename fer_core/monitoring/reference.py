"""What a model's runs are compared with: one JSON file a model in the labels root, of counts only.

_meta/drift/reference-<first 12 of the model's digest>.json
_meta/drift/runs/<run id>.json       the profile of a run, so that its tables are read once
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from fer_core.errors import CommitError
from fer_core.json_reader import parse_object
from fer_core.monitoring.drift import Profile
from fer_core.storage.store import Store

FOLDER: Final = "_meta/drift"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reference:
    """What was found when a model was accepted."""

    model_name: str
    model_digest: str
    """Or, with another prior or precision than earlier releases knew, the key of both (`run.Answering.key`)."""
    runs: tuple[str, ...]
    """The runs it was made from."""
    made_at: str
    """ISO 8601, UTC."""
    profile: Profile


def reference_file(model_digest: str) -> str:
    """Where the reference of a model lies."""
    return f"{FOLDER}/reference-{model_digest[:12]}.json"


def profile_file(run_id: str) -> str:
    """Where the profile of a run is kept."""
    return f"{FOLDER}/runs/{run_id}.json"


def read_reference(store: Store, model_digest: str) -> Reference | None:
    """None where the model has none yet. CommitError when it is damaged, of another model, or was made with other bins."""

    def parsed(value: dict[str, Any]) -> Reference:
        runs = tuple(str(run) for run in value["runs"])
        found = Reference(value["model_name"], value["model_digest"], runs, value["made_at"], Profile.from_json(value["profile"]))
        if not all(isinstance(text, str) for text in (found.model_name, found.made_at)) or not isinstance(value["runs"], list):
            raise TypeError("texts are wanted")
        if found.model_digest != model_digest:
            raise ValueError("another model")
        return found

    return _read(store, reference_file(model_digest), parsed)


def write_reference(store: Store, name: str, model_digest: str, runs: tuple[str, ...], profile: Profile) -> Reference:
    """Make it the model's reference, in the place of an earlier one."""
    made = Reference(name, model_digest, runs, datetime.now(UTC).isoformat(timespec="seconds"), profile)
    value = {"model_name": name, "model_digest": model_digest, "runs": list(runs), "made_at": made.made_at, "profile": profile.to_json()}
    store.write_bytes(reference_file(model_digest), _json(value))
    return made


def read_profile(store: Store, run_id: str, parts_digest: str) -> Profile | None:
    """The kept profile of a run, or None. parts_digest: of the parts it must have been made from."""

    def parsed(value: dict[str, Any]) -> Profile | None:
        return Profile.from_json(value["profile"]) if value["parts"] == parts_digest else None

    try:
        return _read(store, profile_file(run_id), parsed)
    except CommitError:  # it can be made anew
        return None


def write_profile(store: Store, run_id: str, parts_digest: str, profile: Profile) -> None:
    """Keep it."""
    store.write_bytes(profile_file(run_id), _json({"parts": parts_digest, "profile": profile.to_json()}))


def _read(store: Store, path: str, parsed: Callable[[dict[str, Any]], T]) -> T | None:
    if not store.exists(path):
        return None
    try:
        return parsed(parse_object(store.read_bytes(path)))
    except (ValueError, KeyError, TypeError) as error:
        raise CommitError(
            f"the file of a drift reference is damaged, or of another release: {store.url(path)}; choose another reference run"
        ) from error


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
