"""What lies on a local disk: folders walked to the bottom, patterns expanded, nothing lost on the way.

Links to files are listed under their own path, broken ones too. A folder behind a link is walked like any other, under the link's path,
but no folder twice: what is reached without links comes first, so loops end, and a link to a folder that was walked already is listed
as itself. A folder that cannot be listed is listed as itself as well: it becomes a row that says so. Pipes, sockets and devices are
passed over.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

MAGIC: Final = frozenset("*?[")
"""Characters that make a path a pattern."""


class Listed(NamedTuple):
    """One listed file."""

    path: str
    """Local path as the operating system gives it, or the URI of an object."""
    size: int | None = None
    """Bytes, behind links; None for what is not there or is no file."""
    modified_us: int | None = None
    """Microseconds since the epoch, UTC."""
    etag: str | None = None
    whole: bool = True
    """False for a folder that could not be listed."""


def look(path: str) -> Listed:
    """One path as it is now, without opening it."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # absent, a broken link, not permitted, or no possible name: reading it will say which
        return Listed(path)
    return _listed(path, status)


def walk(root: str) -> Iterator[Listed]:
    """Every file and link below a folder, in no order. OSError when the folder itself cannot be listed."""
    seen: set[tuple[int, int]] = set()
    os.scandir(root).close()
    tops = [root]
    while tops:
        behind_links: list[str] = []
        for top in tops:
            if _was_walked(top, seen):
                yield Listed(top)
            else:
                yield from _tree(top, seen, behind_links)
        tops = sorted(behind_links)


def expand(base: str, parts: Sequence[str]) -> Iterator[Listed]:
    """The files and links that a pattern names.

    base: an existing folder. parts: the pattern below it, one name each; `*`, `?` and `[...]` match inside a name, also at its start when
    it is hidden; `**` matches any number of folders, at the end everything below. Folders that match are not entered.
    """
    if parts[0] == "**":
        for found in walk(base):
            if not found.whole or _matches(found.path[len(base.rstrip("/")) + 1 :].split("/"), parts):
                yield found
        return
    for path in _named(base, parts[0]):
        if path is None:
            yield Listed(base, whole=False)
        elif len(parts) == 1:
            yield from _file(path)
        elif os.path.isdir(path):
            yield from expand(path, parts[1:])


def _tree(top: str, seen: set[tuple[int, int]], behind_links: list[str]) -> Iterator[Listed]:
    folders = [top]
    while folders:
        folder = folders.pop()
        try:
            identity = _identity(folder)
            if identity in seen:
                continue
            seen.add(identity)
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_symlink() and os.path.isdir(entry.path):
                        behind_links.append(entry.path)
                    elif entry.is_symlink():
                        yield look(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        yield _entry(entry)
        except OSError:
            yield Listed(folder, whole=False)


def _entry(entry: "os.DirEntry[str]") -> Listed:
    try:
        return _listed(entry.path, entry.stat(follow_symlinks=False))
    except OSError:
        return Listed(entry.path)


def _listed(path: str, status: os.stat_result) -> Listed:
    if not stat.S_ISREG(status.st_mode):
        return Listed(path)
    return Listed(path, status.st_size, status.st_mtime_ns // 1000)


def _was_walked(folder: str, seen: set[tuple[int, int]]) -> bool:
    try:
        return _identity(folder) in seen
    except OSError:  # gone since it was found; walking it will say so
        return False


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _named(base: str, part: str) -> Iterator[str | None]:
    """Paths below a folder whose name matches; None where the folder cannot be listed."""
    if MAGIC.isdisjoint(part):
        path = os.path.join(base, part)
        if os.path.lexists(path):
            yield path
        return
    try:
        names = os.listdir(base)
    except OSError:
        yield None
        return
    yield from (os.path.join(base, name) for name in names if fnmatchcase(name, part))


def _file(path: str) -> Iterator[Listed]:
    """A regular file or a link that leads to no folder."""
    found = look(path)
    if found.size is not None or (os.path.islink(path) and not os.path.isdir(path)):
        yield found


def _matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    if not parts:
        return not names
    if parts[0] == "**":
        return len(parts) == 1 or any(_matches(names[start:], parts[1:]) for start in range(len(names)))
    return bool(names) and fnmatchcase(names[0], parts[0]) and _matches(names[1:], parts[1:])
