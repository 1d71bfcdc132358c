"""How options are read: paths, texts, and values that are given once."""

import argparse
import locale
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class GivenOnce(argparse.Action):
    """Stores the value of an option. Given twice it is wrong use: else the last value would count, without a word."""

    _is_given = False

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: str | Sequence[Any] | None, option: str | None = None
    ) -> None:
        """option: None for a positional argument."""
        if option is not None and self._is_given:
            raise argparse.ArgumentError(self, "is given more than once")
        self._is_given = True
        setattr(namespace, self.dest, values)


def typed_path(argument: str) -> Path:
    """A path of this machine. `~` is the home: shells leave it as it is in quotes and after `=`, systemd everywhere."""
    return Path(os.path.expanduser(argument))


def typed_output(argument: str) -> Path:
    """A path of this machine to write at. UsageError in the tables of a labels root."""
    from fer_core.storage.paths import META, STAGING, TABLES

    path = typed_path(argument)
    if not {*TABLES, META, STAGING}.isdisjoint(Path(os.path.realpath(path)).parts):  # a machine that only trains has no fsspec
        from fer_core.storage.output_place import refuse_in_tables

        refuse_in_tables(str(path))
    return path


def typed_text(argument: str) -> str:
    """The value of an option that is no file name: what is not UTF-8 was typed in the locale's encoding."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return os.fsencode(argument).decode(locale.getencoding(), "surrogateescape")
    return argument


def positive(argument: str) -> int:
    """A whole number from 1 on."""
    if not argument.isdecimal() or int(argument) < 1:
        raise argparse.ArgumentTypeError(f"not a positive number: {argument}")
    return int(argument)
