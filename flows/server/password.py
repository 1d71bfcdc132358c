"""The password of the API of `ferflow up`: generated once and stored for its owner alone.

Prefect calls it the auth string. It passes between processes in their environment, which other users cannot read; never in arguments.
"""

import fcntl
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fer_core.errors import OrchestrationError
from flows.server.prefect_process import explain, prefect_home

OURS: Final = "PREFECT_API_AUTH_STRING"
"""The variable of a client."""
THEIRS: Final = "PREFECT_SERVER_API_AUTH_STRING"
"""The variable of the server."""

FILE: Final = "ferflow-password"
_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class Password:
    """The password and its file."""

    text: str = field(repr=False)
    """In Prefect's format, USER:PASSWORD, which a person also types into Prefect's UI."""
    file: Path | None
    """None: it came from the environment."""
    is_new: bool


def new_password() -> str:
    """A random password."""
    return f"ferflow:{secrets.token_urlsafe(32)}"


def stored_password() -> Password:
    """The server's password in the environment, else the one of this home, generated on the first call.

    OrchestrationError where it cannot be stored.
    """
    given = os.environ.get(THEIRS)
    if given:
        return Password(given, None, is_new=False)
    file = prefect_home() / FILE
    try:
        found = _read(file)
        if found is not None:
            return Password(found, file, is_new=False)
        made = new_password()
        _write(file, made)
    except OSError as error:
        raise OrchestrationError(f"the password of the pages cannot be kept in {file}: {explain(error)}") from error
    return Password(made, file, is_new=True)


def password_of_running_server(url: str, lock: str) -> str | None:
    """The password of the `ferflow up` that serves `url` from this home now, else None.

    lock: name of its lock's file, which holds its address. Where no process holds the lock, another server answers there.
    """
    try:
        with (prefect_home() / lock).open("rb") as held:
            where = held.read().decode(errors="replace").strip()
            if not where or url.rstrip("/") != f"{where}/api":
                return None
            with suppress(BlockingIOError):
                fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
        return _read(prefect_home() / FILE)
    except OSError:
        return None


def _read(file: Path) -> str | None:
    """None where there is none, or an incomplete one. Removes the permissions of other users."""
    try:
        found = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(found, encoding="utf-8", errors="replace") as stream:
        os.fchmod(stream.fileno(), 0o600)
        text = stream.read(_LONGEST)
    return text.strip() if text.endswith("\n") and ":" in text else None


def _write(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)  # left incomplete by an earlier start
    made = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(made, "w", encoding="utf-8") as stream:
        stream.write(text + "\n")
        stream.flush()
        os.fsync(stream.fileno())
