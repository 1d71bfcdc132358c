"""Promotions in a folder of models, each a numbered file; the highest number names the champion.

    MODELS/<name>/                     output of `ferflow train`; labelling does not use it
    MODELS/promoted/<digest12>/        weights, card and reference faces of a promoted model, never changed afterwards
    MODELS/promotions/000001.json      new champion, previous champion, time, reason

A promotion links a complete file under the next number, which only one of several writers can do: compare and set. Readers take the highest
number, so they see the old champion or the new one and never a half of either. The folder is on a file system of every worker, like all
models.
"""

import json
import os
import re
import secrets
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fer_core.errors import ModelError
from fer_core.hashing import file_sha256
from fer_core.json_reader import parse_object
from fer_core.models.card import CARD, DEFAULT, SHIPPED, WEIGHTS, ModelRef, read_model
from fer_core.models.reference_faces import REFERENCE
from fer_core.storage.bounded_file import read_bounded
from fer_core.validation import check_entries

PROMOTED: Final = "promoted"
PROMOTIONS: Final = "promotions"
KINDS: Final = ("promote", "rollback")
MOST_RECORD: Final = 2**20
_NUMBERED: Final = re.compile(r"(\d{6})\.json")


@dataclass(frozen=True, slots=True)
class Promotion:
    """One change of champion."""

    number: int
    """From 1; the highest one is the champion's."""
    name: str
    digest: str
    path: str
    """Of the model's folder: relative to the folder of models, or `shipped:NAME`."""
    previous: str
    """Digest of the champion before; the shipped default's where there was none."""
    kind: str
    """`promote` or `rollback`."""
    reason: str
    at: str
    """ISO 8601, UTC."""


def promotions(models: Path) -> tuple[Promotion, ...]:
    """All promotions, oldest first; none where nothing was promoted. ModelError: one of the files is damaged."""
    folder = models / PROMOTIONS
    try:
        names = sorted(entry.name for entry in folder.iterdir() if _NUMBERED.fullmatch(entry.name))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise ModelError(f"cannot read {folder} ({error.strerror})") from error
    return tuple(_read(folder / name) for name in names)


def champion(models: Path) -> ModelRef:
    """The model that labels: the last promoted one, the shipped default where there is none. ModelError: it is gone or damaged."""
    done = promotions(models)
    return _model(models, done[-1]) if done else read_model(SHIPPED / DEFAULT)


def promote(models: Path, model: ModelRef, expected: str, reason: str) -> Promotion:
    """Make a model the champion, if the champion still is the one with the digest `expected`; else ModelError, without any effect.

    Its folder is copied first and checked against its card. Promoting the champion again is a no-op.
    """
    done = promotions(models)
    if champion(models).digest != expected:
        raise ModelError("another model was promoted in the meantime: compare the challenger with the current champion")
    if done and model.digest == expected:
        return done[-1]
    path = f"shipped:{model.name}" if model.path.parent == SHIPPED else _kept(models, model)
    return _record(models, done, model, path, "promote", reason)


def rollback(models: Path, reason: str) -> Promotion:
    """Promote the previous champion again. ModelError: there is none."""
    done = promotions(models)
    if not done:
        raise ModelError(f"nothing was promoted in {models}, so there is nothing to roll back")
    earlier = _standing(done)
    if len(earlier) > 1:
        before = next(one for one in reversed(done) if one.digest == earlier[-2])
        return _record(models, done, _model(models, before), before.path, "rollback", reason)
    shipped = read_model(SHIPPED / DEFAULT)
    if done[-1].digest == shipped.digest:
        raise ModelError("the champion is the model that comes with ferflow, and there is none before it")
    return _record(models, done, shipped, f"shipped:{DEFAULT}", "rollback", reason)


def _standing(done: tuple[Promotion, ...]) -> list[str]:
    """Digests of the champions that remain, oldest first, if each rollback removes the promotion that it reverted."""
    stack: list[str] = []
    for one in done:
        if one.kind == "rollback":
            del stack[-1:]
            if not stack:
                stack = [one.digest]
        else:
            stack.append(one.digest)
    return stack


def _record(models: Path, done: tuple[Promotion, ...], model: ModelRef, path: str, kind: str, reason: str) -> Promotion:  # noqa: PLR0917  (plain values)
    """Write a complete file under the next number, or none."""
    number = done[-1].number + 1 if done else 1
    previous = done[-1].digest if done else read_model(SHIPPED / DEFAULT).digest
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    promotion = Promotion(number, model.name, model.digest, path, previous, kind, reason, moment)
    folder = models / PROMOTIONS
    whole = folder / f".{number:06d}.{secrets.token_hex(8)}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole.open("w", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(promotion), indent=2) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.link(whole, folder / f"{number:06d}.json")
    except FileExistsError as error:
        raise ModelError("another model was promoted in the meantime: compare the challenger with the current champion") from error
    except OSError as error:
        raise ModelError(f"cannot write to {folder} ({error.strerror})") from error
    finally:
        with suppress(OSError):
            whole.unlink()
    return promotion


def _kept(models: Path, model: ModelRef) -> str:
    """Copy a model to the folder of promoted ones, completely or not at all; returns its path below the folder of models."""
    path = f"{PROMOTED}/{model.digest[:12]}"
    target = models / path
    if target.is_dir():
        return _checked(target, model, path)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        partial.mkdir(parents=True)
        for name in (WEIGHTS, CARD, *([REFERENCE] if (model.path / REFERENCE).is_file() else [])):
            shutil.copyfile(model.path / name, partial / name)
        _checked(partial, model, path)
        with suppress(OSError):  # another process has just copied the same model
            partial.rename(target)
        return _checked(target, model, path)
    except OSError as error:
        raise ModelError(f"cannot keep the model {model.path} in {target.parent} ({error.strerror})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _checked(folder: Path, model: ModelRef, path: str) -> str:
    """The path, once the folder's weights match the card of the model."""
    if file_sha256(folder / WEIGHTS) != model.digest:
        raise ModelError(f"the weights are not the ones the card names (damaged or changed): {folder / WEIGHTS}")
    return path


def _model(models: Path, promotion: Promotion) -> ModelRef:
    shipped = promotion.path.startswith("shipped:")
    ref = read_model(SHIPPED / promotion.path.removeprefix("shipped:") if shipped else models / promotion.path)
    if ref.digest != promotion.digest:
        raise ModelError(f"promotion {promotion.number} is of another model than the one in {ref.path}")
    return ref


def _read(file: Path) -> Promotion:
    try:
        promotion = Promotion(**parse_object(read_bounded(file, MOST_RECORD), MOST_RECORD))
        check_entries(promotion)
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"damaged record of a promotion: {file}") from error
    if f"{promotion.number:06d}.json" != file.name or not _is_plain(promotion.path) or promotion.kind not in KINDS:
        raise ModelError(f"damaged record of a promotion: {file}")
    return promotion


def _is_plain(path: str) -> bool:
    """Whether it names a folder below the folder of models, or a shipped model."""
    folders = path.removeprefix("shipped:").split("/")
    return {"", ".", ".."}.isdisjoint(folders) and "\0" not in path and (len(folders) == 1 or not path.startswith("shipped:"))


def was_champion(models: Path, digest: str) -> bool:
    """Whether a model with this digest was ever promoted there: a run that began with it may finish with it."""
    return any(one.digest == digest for one in promotions(models))
