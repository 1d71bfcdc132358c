"""A collection of images: listing -> inventory, `schema.INVENTORY`."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.collection import list_file
from fer_core.collection.list_file import LIMITS, ListLimits
from fer_core.collection.local_listing import FolderLinks, ListedFile, expand, stat_file, walk
from fer_core.collection.name_filter import DEFAULTS, MAGIC, NOTHING, Excludes, NameFilter, fixed_part
from fer_core.collection.object_listing import beside, find_objects, first_page, list_objects, stat_object, to_listed_file
from fer_core.errors import AccessError, OutageError, SourceError, StoreError
from fer_core.storage.retry import DEFAULT_RETRY
from fer_core.storage.spill import ROW_LIMITS, RowLimits, merge_by_key, sort_by_uri, sorted_runs, spill_tables
from fer_core.storage.system_files import SAID, is_system_file
from fer_core.storage.uri import (
    CREDENTIALS,
    OBJECT_STORES,
    S3,
    as_store_error,
    cut_short,
    error_text,
    holds_credentials,
    is_too_long,
    local_path,
    local_uri,
    scheme,
    split,
    unsplit,
    without_credentials,
)
from fer_core.tables.schema import INVENTORY, TIMESTAMP

REQUESTS_AT_ONCE: Final = 32
"""Objects of a list file that are looked up at a time."""
LISTED_AT_ONCE: Final = 4_000


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How a source is listed."""

    follow_links: bool = False
    """Whether folder links are entered that lead out of the source."""
    list_limits: ListLimits = LIMITS
    column: str | None = None
    """Of a list file; one with a known name, or the first one, if None."""
    anonymous: bool = False
    """Whether requests to S3 are sent without credentials."""
    excludes: Excludes = DEFAULTS
    """Names below a folder, a prefix or the fixed part of a pattern that are not listed."""


@dataclass(frozen=True, slots=True)
class Collection:
    """Images of a source."""

    images: pa.Table
    """`schema.INVENTORY`, sorted by URI, each URI once."""
    left_out: tuple[str, ...] = ()
    """Folders that were not entered, see `local_listing.FolderLinks`; their content is unknown."""
    names: NameFilter = field(default_factory=lambda: NameFilter("", NOTHING))
    """What was left out by its name, and how often."""


OPTIONS: Final = SourceOptions()


def collect(source: str, options: SourceOptions = OPTIONS, on_listed: Callable[[int], None] = lambda count: None) -> Collection:
    """List a source.

    source: a folder (with all below it), one image, a list file (.txt, .csv, .parquet; relative entries are relative to its folder), a
    pattern (where nothing of that very name exists), or the same in an object store. Listed files that are absent stay, without size.
    on_listed: called now and then with the number of entries listed so far.
    SourceError in one line when it is not there, empty, or cannot be listed.
    """
    if not source:
        raise SourceError("no source is given")
    links = FolderLinks(options.follow_links)
    try:
        # inside, since listing happens as the inventory is filled
        listed = _local(source, options, links) if scheme(source) == "file" else _remote(source, options, links)
        inventory = inventory_of(listed, on_listed)
    except StoreError as error:
        raise SourceError(str(error)) from error
    except OSError as error:
        raise SourceError(f"cannot list {_shown(source)}: {error_text(error).lower()}") from error
    if not inventory.num_rows:
        raise SourceError(f"there is nothing in {_shown(source)}{_but(links)}")
    return Collection(inventory, tuple(sorted(set(links.left_out))), links.names)


def list_images(source: str, options: SourceOptions = OPTIONS) -> pa.Table:
    """The inventory alone of what `collect` finds."""
    return collect(source, options).images


def quick_count(source: str, anonymous: bool = False, excludes: Excludes = DEFAULTS) -> int | None:
    """Number of images of a source in S3, by one or two requests; None where these are not enough: more than a page, a list, a pattern.

    anonymous, excludes: see `SourceOptions`. SourceError in one line when it is not there, empty, or cannot be listed, as `list_images`
    would find after all its pages.
    """
    try:
        fs, path = split(source, anonymous)
        if not path.strip("/"):
            raise SourceError(f"{source} names no bucket")
        with as_store_error("list", source):
            return first_page(fs, path, source, NameFilter(unsplit(fs, path), excludes))
    except StoreError as error:
        raise SourceError(str(error)) from error


def inventory_of(
    listed: Iterable[ListedFile], on_listed: Callable[[int], None] = lambda count: None, limits: RowLimits = ROW_LIMITS
) -> pa.Table:
    """Listed files, in any order, as `schema.INVENTORY`: sorted by URI, each URI once.

    Only `LISTED_AT_ONCE` files are Python objects at a time, and of many the rows are on disk, see `spill.spill_tables`.
    """
    runs = sorted_runs(_chunks(iter(listed), on_listed), INVENTORY, limits)
    if len(runs) == 1 and not pc.any(_repeats(runs[0])).as_py():
        return runs[0]
    return spill_tables((_once(sort_by_uri(pa.concat_tables(pieces))) for pieces in merge_by_key(runs, limits)), INVENTORY, limits)


def _once(rows: pa.Table) -> pa.Table:
    """Sorted rows without those of the URI before them."""
    return rows.filter(pa.concat_arrays([pa.array([True] * min(1, rows.num_rows)), pc.invert(_repeats(rows)).combine_chunks()]))


def _repeats(rows: pa.Table) -> pa.ChunkedArray:
    """Of sorted rows, all but the first: whether the URI is that of the row before."""
    return pc.equal(rows["image_uri"][1:], rows["image_uri"][:-1])


def _chunks(listed: Iterator[ListedFile], on_listed: Callable[[int], None]) -> Iterator[pa.Table]:
    count = 0
    while found := list(islice(listed, LISTED_AT_ONCE)):
        count += len(found)
        on_listed(count)
        yield _rows(found)


def _rows(found: Sequence[ListedFile]) -> pa.Table:
    columns = [
        pa.array([row.path if _is_object(row.path) else local_uri(row.path) for row in found], pa.string()),
        pa.array([row.size for row in found], pa.int64()),
        pa.array([row.etag for row in found], pa.string()),
        pa.array([row.modified_us for row in found], TIMESTAMP),
    ]
    return pa.Table.from_arrays(columns, schema=INVENTORY)


def _but(links: FolderLinks) -> str:
    told = f" but {len(links.left_out):,} folder links that were not entered, see --follow-links" if links.left_out else ""
    return told + links.names.sentence()


def _local(source: str, options: SourceOptions, links: FolderLinks) -> Iterable[ListedFile]:
    path = local_source(source)
    if os.path.exists(path) and is_system_file(path, os.stat(path)):
        raise SourceError(f"{_shown(source)} is {SAID}")
    if os.path.isdir(path):
        links.names = NameFilter(path, options.excludes)
        return walk(path.rstrip("/") or "/", links)
    if os.path.isfile(path):
        return _listed_by(path, options) if list_file.is_list(path) else [stat_file(path)]
    if os.path.lexists(path):
        what = "is a broken link" if os.path.islink(path) else "is not a regular file"
        raise SourceError(f"{_shown(source)} {what}")
    if MAGIC.isdisjoint(path):
        raise SourceError(f"there is no {_shown(source)}")
    return _matching(path, source, options, links)


def local_source(source: str) -> str:
    """The absolute path of a local source; a leading `~` is the home unless there is something of that very name."""
    path = _absolute(_bare(source), os.getcwd())
    return os.path.expanduser(source) if source.startswith("~") and not os.path.lexists(path) else path


def _matching(pattern: str, source: str, options: SourceOptions, links: FolderLinks) -> list[ListedFile]:
    parts = [part for part in pattern.split("/") if part]
    fixed = next(index for index, part in enumerate(parts) if not MAGIC.isdisjoint(part))
    base = "/" + "/".join(parts[:fixed])
    links.names = NameFilter(base, options.excludes)
    if os.path.isdir(base) and is_system_file(base, os.stat(base)):
        raise SourceError(f"{_shown(source)} is {SAID}")
    found = list(expand(base, parts[fixed:], links)) if os.path.isdir(base) else []
    if not found:
        raise SourceError(f"no file matches {_shown(source)}{_but(links)} (** at the end also matches files in subfolders)")
    return found


def _listed_by(file: str, options: SourceOptions) -> Iterator[ListedFile]:
    """Files that a local list file names."""
    limits = options.list_limits
    limits.check_bytes(_shown(file), os.path.getsize(file))
    with open(file, "rb") as stream:
        data = stream.read(limits.bytes + 1)
    folder = os.path.dirname(file)
    return _entries(_shown(file), data, options, lambda name: _absolute(_bare(name), folder) if scheme(name) == "file" else name)


def _entries(file: str, data: bytes, options: SourceOptions, resolve: Callable[[str], str]) -> Iterator[ListedFile]:
    """Files that the content of a list file names. resolve: entry -> path or URI."""
    if options.excludes.patterns:
        raise SourceError(f"--exclude is for folders, prefixes and patterns: {file} names each image itself")
    names = list_file.read_list(file, data, options.list_limits, options.column)
    found = _looked_up((resolve(name) for name in map(_writable, names)), options.anonymous)
    return _with_an_existing(file, found) if options.column is None and list_file.is_guess(file, data) else found


def _with_an_existing(file: str, found: Iterator[ListedFile]) -> Iterator[ListedFile]:
    """The same; SourceError at the end where no entry exists: the first column of an unknown table, such as a number, is no list."""
    count, exists = 0, False
    for count, one in enumerate(found, start=1):  # noqa: B007  (counts)
        exists = exists or one.size is not None
        yield one
    if count and not exists:
        raise SourceError(f"{file} has no column of a known name, and of its first one no entry exists: name the column with --column")


def _writable(name: str) -> str:
    """An entry of a list, in a form that may be stored and sent."""
    if is_too_long(name):
        return cut_short(name)
    return without_credentials(name) if holds_credentials(name) else name


def _looked_up(names: Iterable[str], anonymous: bool) -> Iterator[ListedFile]:
    """Stat local paths one by one, objects by several concurrent requests. Impossible names and refused objects stay, and get their error
    when they are read; where a list has nothing else, the first such error is raised.
    """
    unique = list(dict.fromkeys(names))
    good = False
    refused = dict[str, StoreError]()
    for name in unique:
        if is_too_long(name):
            good = True
            yield ListedFile(name)
        elif scheme(name) == "file":
            good = True
            yield stat_file(name)
        elif holds_credentials(name):
            refused[name] = StoreError(CREDENTIALS)
        elif scheme(name) not in OBJECT_STORES:
            good = True
            yield ListedFile(name)
    objects = [name for name in unique if scheme(name) in OBJECT_STORES and name not in refused and not is_too_long(name)]
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        for name, found in zip(objects, pool.map(partial(_look_object, anonymous=anonymous), objects), strict=True):
            if isinstance(found, StoreError):
                refused[name] = found
            else:
                good = True
                yield found
    for error in refused.values():
        if not good:
            raise error
    yield from map(ListedFile, refused)


def _look_object(uri: str, anonymous: bool) -> ListedFile | StoreError:
    """One object, or the error that denies access to it. OutageError where its store does not answer."""
    try:
        return stat_object(uri, anonymous)
    except AccessError as error:
        return error
    except OutageError:
        raise
    except StoreError as error:
        return error


def _remote(source: str, options: SourceOptions, links: FolderLinks) -> Iterable[ListedFile]:
    fs, path = split(source, options.anonymous)
    if not path.strip("/"):
        raise SourceError(f"{source} names no bucket")
    if scheme(source) in S3:
        objects = list_objects(fs, path, source)
        if (first := next(objects, None)) is not None:
            links.names = NameFilter(unsplit(fs, path), options.excludes)
            return (one for one in chain([first], objects) if links.names.takes_object(one.path))
    with as_store_error("list", source):
        matching = DEFAULT_RETRY.call(lambda: find_objects(fs, path))
        if len(matching) == 1 and list_file.is_list(path) and path.rstrip("/") in matching:
            limits, size = options.list_limits, matching[path.rstrip("/")]["size"]
            limits.check_bytes(source, size)
            data = DEFAULT_RETRY.call(lambda: bytes(fs.cat_file(path)))
            folder = unsplit(fs, path).rpartition("/")[0]
            return list(_entries(source, data, options, lambda name: beside(folder, name)))
    if not matching:
        raise SourceError(f"there is nothing at {source}")
    found = [to_listed_file(fs, name, info) for name, info in matching.items()]
    if path.rstrip("/") in matching:  # an object that is named is listed, whatever it is called
        return found
    below = all(name.startswith(f"{path.rstrip('/')}/") for name in matching)
    links.names = NameFilter(unsplit(fs, path) if below else fixed_part(unsplit(fs, path)), options.excludes)
    return [one for one in found if links.names.takes_object(one.path)]


def _is_object(name: str) -> bool:
    return scheme(name) != "file"


def _bare(name: str) -> str:
    """The path in a file URI: verbatim, as fsspec takes it, unless only the percent-decoded path exists or is possible."""
    if not name.startswith("file://"):
        return name
    verbatim, decoded = name.removeprefix("file://"), local_path(name)
    untold = local_uri(decoded) != decoded
    return decoded if not os.path.lexists(verbatim) and (untold or os.path.lexists(decoded)) else verbatim


def _absolute(path: str, folder: str) -> str:
    """An absolute path stays as it is. A relative one loses `.` and `..`, where that leads to the same file or to none."""
    if path.startswith("/"):
        return path
    joined = os.path.join(folder, path)
    tidy = os.path.normpath(joined)
    return tidy if tidy == joined or not os.path.lexists(joined) or _same(tidy, joined) else joined


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except OSError:
        return False


def _shown(source: str) -> str:
    return local_uri(source)
