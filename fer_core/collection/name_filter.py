"""Names below a source that are not listed, decided without opening anything: files that are no images by their names (`ignored`, by
kind), and what default and given patterns exclude, such as thumbnails and recycle bins.

The name alone decides: a text file that is called `a.jpg` is listed and becomes a row. Entries of list files, single files and objects
that are sources themselves are never judged here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from fer_core.errors import SourceError
from fer_core.storage.uri import local_path

MAGIC: Final = frozenset("*?[")
"""Characters that make a name a pattern."""

LINK: Final = "link"
"""Kind of a folder link whose folder is listed anyway."""

SUFFIXES: Final[Mapping[str, tuple[str, ...]]] = {
    "video": (
        "3g2",
        "3gp",
        "asf",
        "avi",
        "divx",
        "flv",
        "insv",
        "lrv",
        "m2ts",
        "m2v",
        "m4v",
        "mkv",
        "mov",
        "mp4",
        "mpeg",
        "mpg",
        "mts",
        "mxf",
        "ogv",
        "vob",
        "webm",
        "wmv",
    ),
    "audio": ("aac", "aif", "aiff", "amr", "flac", "m4a", "mid", "mp3", "oga", "ogg", "opus", "wav", "wma"),
    "sidecar": ("aae", "cos", "dop", "json", "jsonl", "on1", "pp3", "thm", "xmp"),
    "document": ("doc", "docx", "epub", "htm", "html", "odp", "ods", "odt", "pdf", "ppt", "pptx", "rtf", "xls", "xlsx", "xml"),
    "archive": ("7z", "bz2", "gz", "rar", "tar", "tgz", "xz", "zip", "zst"),
    "system": ("db", "db-journal", "ini", "lnk", "lrcat", "lrdata", "lrprev", "sqlite", "sqlite3", "url"),
}
"""Kinds of files that hold no photograph, and how their names end, in any case."""

SYSTEM_NAMES: Final = frozenset(
    (".ds_store", ".localized", ".directory", ".nomedia", ".spotlight-v100", "icon\r", "thumbs.db", "zbthumbnail.info")
)
"""Files that systems and photo managers leave in folders, in lower case; `._*` are macOS's copies of attributes."""

DEFAULT_EXCLUDES: Final = (
    *("@eaDir", ".@__thumb", ".thumbnails", ".thumbcache", "#recycle", "@Recycle", "@Recently-Snapshot", "$RECYCLE.BIN", "RECYCLER"),
    *("System Volume Information", ".Trash*", ".dtrash", ".stversions", ".stfolder", "#snapshot", ".snapshots", ".git", "lost+found"),
    *(".AppleDouble", "__MACOSX"),
)
"""Thumbnails, recycle bins and versions of what was deleted or changed, at any depth and in any case. `.Trash*` includes Android's
`.trashed-*` files."""

_KIND: Final = {suffix: kind for kind, suffixes in SUFFIXES.items() for suffix in suffixes}
_DEFAULT_NAMES: Final = frozenset(name.lower() for name in DEFAULT_EXCLUDES if MAGIC.isdisjoint(name))
_DEFAULT_STARTS: Final = tuple(name.lower().rstrip("*") for name in DEFAULT_EXCLUDES if not MAGIC.isdisjoint(name))


def ignored_kind(name: str) -> str | None:
    """The kind of a file that is no image by its name, without folders; None where it may be one."""
    lower = name.lower()
    if lower in SYSTEM_NAMES or lower.startswith("._"):
        return "system"
    return _KIND.get(lower.rpartition(".")[2]) if "." in lower else None


@dataclass(frozen=True, slots=True)
class Excludes:
    """What `--exclude` and the defaults leave out."""

    patterns: tuple[str, ...] = ()
    """`*`, `?` and `[...]` match within a name. Without a slash: any file or folder of that name, at any depth. With one: a path below
    the source, in which `**` is any number of folders; it may begin with the source. What is below an excluded folder is excluded."""
    defaults: bool = True
    """Whether `DEFAULT_EXCLUDES` apply as well."""
    kinds: bool = True
    """Whether files that are no images by their names are left out."""


DEFAULTS: Final = Excludes()
NOTHING: Final = Excludes(defaults=False, kinds=False)


class NameFilter:
    """Judges the names below one source, and counts those that it leaves out."""

    def __init__(self, base: str, excludes: Excludes) -> None:
        """base: the folder or prefix whose content is listed, as it is written in the listing. SourceError for an impossible pattern."""
        self._base = base.rstrip("/")
        self._defaults, self._kinds = excludes.defaults, excludes.kinds
        self._names: list[str] = []
        self._paths: list[list[str]] = []
        for pattern in excludes.patterns:
            below = pattern.removeprefix(f"{self._base}/") if self._base else pattern
            parts = [part for part in below.split("/") if part not in {"", "."}]
            if not parts or ".." in parts:
                raise SourceError(f"--exclude {pattern[:80]!r} is no name and no path below the source")
            if len(parts) == 1 and below == pattern and "/" not in pattern.rstrip("/"):
                self._names.append(parts[0])
            else:
                self._paths.append(parts)
        self.ignored = Counter[str]()
        """Files that are no images by their names, and links to folders that are listed anyway, by kind."""
        self.folders: set[str] = set()
        """Paths of folders that are not listed: excluded ones, and links to those that are listed anyway."""
        self.excluded = 0
        """Excluded folders and files. What is below an excluded folder is not counted."""

    def enters(self, folder: str) -> bool:
        """Whether a folder, in one that was entered, is listed as well. Counted if not."""
        return not self._excludes(folder) or self._exclude(folder)

    def enters_link(self, link: str, real: str, inside: str) -> bool:
        """The same for a link to a folder. real: what it leads to. inside: the real path of the base."""
        below = real.removeprefix(f"{inside.rstrip('/')}/")
        names = below.split("/") if below != real else [real.rpartition("/")[2]]
        hidden = any(self._is_excluded(names[: end + 1]) for end in range(len(names))) and real != inside
        return self._exclude(link) if hidden else self.enters(link)

    def takes(self, path: str) -> bool:
        """Whether a file, in a folder that was entered, is listed. Counted if not."""
        if self._excludes(path):
            self.excluded += 1
            return False
        kind = self._ignored(path)
        if kind is not None:
            self.ignored[kind] += 1
        return kind is None

    def takes_object(self, path: str) -> bool:
        """The same for a file or object in any folder, from a listing without folders."""
        folder = self._excluded_folder(path)
        return self.takes(path) if folder is None else self._exclude(folder)

    def leave_link(self, link: str) -> None:
        """Count a link to a folder that is listed anyway."""
        self.ignored[LINK] += 1
        self.folders.add(link)

    def leaves_out(self, uri: str) -> bool:
        """Whether an image of this URI would not be listed, by its name alone. Counts nothing."""
        path = local_path(uri)
        return self._excluded_folder(path) is not None or self._excludes(path) or self._ignored(path) is not None

    def _ignored(self, path: str) -> str | None:
        return ignored_kind(path.rpartition("/")[2]) if self._kinds else None

    def sentence(self) -> str:
        """` but 3 files that are no images and 1 excluded name`, empty where nothing was left out."""
        files = self.ignored.total()
        told = [f"{files:,} files that are no images by their names"] if files else []
        told += [f"{self.excluded:,} excluded files and folders"] if self.excluded else []
        return f" but {' and '.join(told)}" if told else ""

    def _exclude(self, folder: str) -> bool:
        if folder not in self.folders:
            self.folders.add(folder)
            self.excluded += 1
        return False

    def _excluded_folder(self, path: str) -> str | None:
        """The uppermost excluded folder above a path below the base."""
        if not path.startswith(f"{self._base}/"):
            return None
        names = path[len(self._base) + 1 :].split("/")
        found = next((end for end in range(1, len(names)) if self._is_excluded(names[:end])), None)
        return None if found is None else "/".join((self._base, *names[:found]))

    def _excludes(self, path: str) -> bool:
        """By its last name, or as a path below the base."""
        if not self._paths:
            return self._is_excluded([path.rpartition("/")[2]])
        return path.startswith(f"{self._base}/") and self._is_excluded(path[len(self._base) + 1 :].split("/"))

    def _is_excluded(self, names: Sequence[str]) -> bool:
        """names: of a file or folder and of the folders above it, from the base on."""
        if self._defaults:
            lower = names[-1].lower()
            if lower in _DEFAULT_NAMES or lower.startswith(_DEFAULT_STARTS):
                return True
        return any(fnmatchcase(names[-1], name) for name in self._names) or any(matches(names, parts) for parts in self._paths)


def matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether a path matches a pattern. In time that grows with both lengths, not with the ways in which `**` could be read."""
    return len(parts) in _reached(names, parts)


def reaches_below(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether a pattern can match something below a folder."""
    return any(at < len(parts) for at in _reached(names, parts))


def fixed_part(pattern: str) -> str:
    """The folder or prefix before the first name with a wildcard, without a slash at its end."""
    mark = min((pattern.index(mark) for mark in MAGIC if mark in pattern), default=len(pattern))
    return pattern[:mark].rpartition("/")[0].rstrip("/")


def _reached(names: Sequence[str], parts: Sequence[str]) -> set[int]:
    reached = _beyond({0}, parts)
    for name in names:
        stepped = {at if parts[at] == "**" else at + 1 for at in reached if at < len(parts) and _matches_one(name, parts[at])}
        reached = _beyond(stepped, parts)
    return reached


def _matches_one(name: str, part: str) -> bool:
    return part == "**" or fnmatchcase(name, part)


def _beyond(reached: Iterable[int], parts: Sequence[str]) -> set[int]:
    """The same places in a pattern and those behind a `**` there, which may match no folder."""
    found = set(reached)
    for at in range(len(parts)):
        if at in found and parts[at] == "**":
            found.add(at + 1)
    return found
