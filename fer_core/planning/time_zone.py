"""Time zones by name: that of a run's date, and that of schedules."""

import os
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from fer_core.errors import UsageError

SCHEDULES: Final = "FERFLOW_TIMEZONE"
"""Variable with the zone of the schedules, for the runs of `ferflow up`."""
LOCALTIME: Final = Path("/etc/localtime")


def zone(name: str | None) -> str:
    """A time zone by its name, this machine's if none is given. UsageError: there is no such zone."""
    chosen = name or _machine_zone()
    try:
        _known(chosen)
    except (OSError, ValueError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise UsageError(f"--timezone {chosen!r} is not known on this machine: give a name such as Europe/Berlin") from error
    return chosen


def run_zone(name: str | None) -> str:
    """The zone of a run's date: the one given, else that of the schedules, else this machine's; UTC where that has no known name."""
    if name:
        return zone(name)
    try:
        return zone(os.environ.get(SCHEDULES))
    except UsageError:
        return "UTC"


def day(moment: datetime, name: str) -> str:
    """YYYY-MM-DD of an aware time in a zone."""
    return f"{moment.astimezone(_known(name)):%Y-%m-%d}"


def _known(name: str) -> tzinfo:
    """Minimal installations know UTC alone."""
    return UTC if name == "UTC" else ZoneInfo(name)


def _machine_zone() -> str:
    """From TZ or /etc/localtime; UTC where neither names one."""
    if os.environ.get("TZ"):
        return os.environ["TZ"].removeprefix(":")
    try:
        target = os.readlink(LOCALTIME)
    except OSError:
        return "UTC"
    return target.partition("zoneinfo/")[2] or "UTC"
