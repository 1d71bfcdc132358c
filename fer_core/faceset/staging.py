"""Atomic creation of a face set: it is built in `.partial` inside its folder and moved at the end, the card last.

A process that is killed leaves `.partial`, and if it was moving, splits without a card. Neither is a face set, and the next
attempt removes both.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from fer_core.errors import FaceSetError
from fer_core.faceset.card import CARD, FaceSetCard, card_text
from fer_core.faceset.schema import SPLITS, split_file
from fer_core.faceset.writer import writing

PARTIAL: Final = ".partial"
_NEW_CARD: Final = "card"
"""The card's name until its splits are in place, so that `.partial` is no face set either."""


def check_target(folder: Path) -> None:
    """Refuse a folder that is not empty, except for the remains of a killed import."""
    with writing(folder):
        names = {entry.name for entry in folder.iterdir()} if folder.exists() else set[str]()
    if PARTIAL in names and CARD not in names:
        names -= {PARTIAL, *(split_file(folder, split).name for split in SPLITS)}
    if names:
        raise FaceSetError(f"the target folder is not empty: {folder}")


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A folder to build a face set in, for `publish` to move into `folder`. After an exception, unpublished files are removed.

    FaceSetError: the folder cannot be written, or another process is building there.
    """
    new = not folder.exists()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with _locked(folder):
            partial = _cleared(folder)
            try:
                yield partial
            finally:
                _sweep(folder)
    except BaseException:
        if new:
            with suppress(OSError):  # only an empty one goes
                folder.rmdir()
        raise


def publish(partial: Path, card: FaceSetCard) -> FaceSetCard:
    """Move the built face set into its folder, replacing an existing one."""
    folder = partial.parent
    with writing(folder):
        new = partial / _NEW_CARD
        new.write_text(card_text(card), encoding="utf-8")
        clear(folder)
        for split in card.counts:
            split_file(partial, split).replace(split_file(folder, split))
        new.replace(folder / CARD)
    return card


def clear(folder: Path) -> None:
    """Remove the face set in the folder: card first, so that no half of it counts as a face set."""
    with writing(folder):
        (folder / CARD).unlink(missing_ok=True)
        for split in SPLITS:
            split_file(folder, split).unlink(missing_ok=True)


def _cleared(folder: Path) -> Path:
    _sweep(folder)
    partial = folder / PARTIAL
    with writing(folder):
        partial.mkdir()
    return partial


def _sweep(folder: Path) -> None:
    """Remove an unfinished build; splits that were moved already are of no use without their card."""
    partial = folder / PARTIAL
    if (partial / _NEW_CARD).exists() and not (folder / CARD).exists():
        clear(folder)
    with writing(folder):
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Held by one process at a time; the kernel releases the lock when it dies."""
    with writing(folder):
        opened = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FaceSetError(f"another process is making a face set in {folder}") from error
        except OSError:  # some file systems have no locks
            pass
        yield
    finally:
        os.close(opened)
