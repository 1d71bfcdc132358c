"""Figures of each epoch of a training run, as JSON lines: one line an epoch, written when the epoch is over."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import ConfigDict, Field, StrictFloat, TypeAdapter

from fer_core.errors import TrainingError
from fer_core.json_reader import MOST_BYTES, parse_object
from fer_core.storage.bounded_file import read_bounded

_HEAD: Final = b'{"epoch": '
"""How every line begins."""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One pass over the training faces, and the figures of the averaged weights on the held-back ones."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    epoch: Annotated[int, Field(strict=True, ge=1)]
    """From 1."""
    train_loss: StrictFloat
    """Mean loss a step on augmented training faces, while the weights move."""
    dev_loss: StrictFloat
    """Mean log loss on the held-back faces as they are, before calibration, in nats."""
    dev_accuracy: StrictFloat
    """In [0, 1], majority protocol."""
    dev_macro_f1: StrictFloat
    """In [0, 1], mean F1 over the classes that occur, majority protocol."""
    learning_rate: StrictFloat
    """At the end of the epoch."""
    seconds: StrictFloat
    """Wall time of the epoch, scoring included."""


_RECORD: Final = TypeAdapter(EpochRecord)


def append(file: Path, record: EpochRecord) -> None:
    """Add one line; folders are made, and a torn last line is cut off first. A file that is no history is left alone: TrainingError."""
    data = _bytes(file)
    _parsed(data, file)
    line = json.dumps(asdict(record)).encode() + b"\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("r+b" if data else "wb") as stream:
            stream.truncate(data.rfind(b"\n") + 1)
            stream.seek(0, 2)
            stream.write(line)
    except OSError as error:
        raise TrainingError(f"cannot write the history {file} ({error.strerror})") from error


def read(file: Path) -> list[EpochRecord]:
    """Records by rising epoch; none where there is no file. Anything but a history is a TrainingError.

    A line counts once its end is written: a kill may leave the last one incomplete. A run that is resumed or started again may write
    an epoch a second time: that line replaces the earlier ones of this epoch and of later ones.
    """
    return _parsed(_bytes(file), file)


def _bytes(file: Path) -> bytes:
    try:
        return read_bounded(file, MOST_BYTES)
    except FileNotFoundError:
        return b""
    except ValueError as error:
        raise TrainingError(f"not a training history, it has {error}: {file}") from error
    except OSError as error:
        raise TrainingError(f"cannot read the history {file} ({error.strerror})") from error


def _parsed(data: bytes, file: Path) -> list[EpochRecord]:
    *lines, torn = data.split(b"\n")
    if not torn.startswith(_HEAD[: len(torn)]):
        raise TrainingError(f"not a training history: {file}")
    records: list[EpochRecord] = []
    for line in lines:
        try:
            record = _RECORD.validate_python(parse_object(line, constants=True))
        except ValueError as error:
            raise TrainingError(f"not a training history: {file}") from error
        while records and records[-1].epoch >= record.epoch:
            records.pop()
        records.append(record)
    return records
