"""Checks of `ferflow up` before anything starts. Does not import Prefect."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from fer_core.errors import ModelError, UsageError
from fer_core.models.registry import champion, promote, promotions
from fer_core.storage.store import open_store
from fer_core.storage.uri import scheme
from flows.label_params import LabelParams
from flows.output import print_line
from flows.server.guard import ALLOWED_HOSTS, allowed_hosts
from flows.server.up import Access
from flows.setup.checks import check_apart, images_at_least, parse_params
from tasks.clusters.trust import ALLOWED_CLUSTERS, allowed_clusters

BLOCK: Final = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")

ENVIRONMENT: Final = "FERFLOW_NOTIFY"

LOCALTIME: Final = Path("/etc/localtime")


def validated_options(
    source: str | None, to: str | None, models: str | None, timezone: str | None, notify: str | None = None
) -> dict[str, str | None]:
    """The fields of `flows.server.deployments.ServeOptions`, local paths absolute.

    UsageError, SourceError, StoreError or ModelError in one line for values with which every run would fail.
    """
    notify = given_address(notify)
    source, to, models = (_absolute(where) for where in (source, to, models))
    if source is not None and to is not None:
        parse_params(LabelParams, {"source": source, "to": to})
        check_apart(source, to)
    if source is not None:
        images_at_least(source, 1)
    if to is not None:
        open_store(to).check_writable()
    if models is not None:
        _seed(Path(models))
    return {"source": source, "to": to, "models": models, "timezone": zone(timezone), "notify": notify}


def given_address(notify: str | None) -> str | None:
    """The value of `--notify` or of the environment: an address is read from a file or standard input. UsageError, which does not repeat
    it.

    It is removed from the environment: no child process needs it.
    """
    environment = os.environ.pop(ENVIRONMENT, None)
    if notify is None:
        notify = environment
    elif notify == "-":
        notify = sys.stdin.readline()
    elif notify.startswith("@"):
        try:
            notify = Path(notify[1:]).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise UsageError(f"cannot read the webhook's address from {notify[1:]}: {reason}") from error
    elif "://" in notify:
        print_line("note: every user of this machine can read an address on a command line: --notify @FILE, - or $FERFLOW_NOTIFY")
    if notify is None:
        return None
    check_address(notify.strip())
    return notify.strip()


def validated_access(hosts: Sequence[str], clusters: Sequence[str], *, password: bool) -> Access:
    """Access including the values of the environment. UsageError in one line for an invalid name or cluster."""
    names = [*hosts, *os.environ.get(ALLOWED_HOSTS, "").split(",")]
    try:
        allowed_hosts(",".join(names))
    except ValueError as error:
        raise UsageError(f"--allow-host {error}") from error
    addresses = allowed_clusters((*clusters, *os.environ.get(ALLOWED_CLUSTERS, "").split(",")))
    return Access(tuple(filter(None, names)), addresses, password)


def check_address(notify: str) -> None:
    """UsageError, which does not repeat it, unless it is the address of a webhook or names a notification block."""
    try:
        parts = urlsplit(notify)
        if (parts.scheme in ("http", "https") and parts.hostname) or BLOCK.fullmatch(notify):
            return
    except ValueError:  # brackets of half an IPv6 address
        pass
    raise UsageError("--notify takes a webhook's http:// or https:// address, or a notification block as TYPE/NAME (slack-webhook/team)")


def zone(name: str | None) -> str:
    """A time zone by its name, this machine's if none is given. UsageError: there is no such zone."""
    chosen = name or _local_zone()
    try:
        ZoneInfo(chosen)
    except (OSError, ValueError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise UsageError(f"--timezone {chosen!r} is not known on this machine: give a name such as Europe/Berlin") from error
    return chosen


def _local_zone() -> str:
    """From TZ or /etc/localtime; UTC where neither names one."""
    if os.environ.get("TZ"):
        return os.environ["TZ"].removeprefix(":")
    try:
        target = os.readlink(LOCALTIME)
    except OSError:
        return "UTC"
    return target.partition("zoneinfo/")[2] or "UTC"


def _absolute(where: str | None) -> str | None:
    """An absolute path, because runs have another working folder than the command."""
    if where is None or scheme(where) != "file" or where.startswith("file:"):
        return where
    return os.path.abspath(os.path.expanduser(where))


def _seed(models: Path) -> None:
    """Make the shipped model the first champion of a folder without promotions, so that the first nightly run has one."""
    try:
        models.mkdir(parents=True, exist_ok=True)
        if promotions(models):
            champion(models)
            return
        shipped = champion(models)
        promote(models, shipped, shipped.digest, "the shipped model is used until a retraining promotes another one")
    except OSError as error:
        raise ModelError(f"cannot write models to {models} ({error.strerror})") from error
