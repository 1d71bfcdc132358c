"""A collection of photographs: listing -> inventory -> deterministic shards."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fsspec import AbstractFileSystem

from fer_core import listfile
from fer_core.address import OBJECT_STORES, S3, local_path, local_uri, one_line, plain, refuse_credentials, scheme, split, unsplit
from fer_core.errors import SourceError, StoreError
from fer_core.listing import MAGIC, Listed, expand, look, walk
from fer_core.patience import PATIENT, is_refused
from fer_core.run import ImageRef
from fer_core.schema import INVENTORY, PLAN, TIMESTAMP
from fer_core.shard_cost import Cut, listed_sizes, shard_ends

REQUESTS_AT_ONCE: Final = 32
"""Objects of a list file that are looked up at a time."""
LISTED_AT_ONCE: Final = 50_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def list_images(source: str) -> pa.Table:
    """The inventory of a source, `schema.INVENTORY`, sorted by URI, each URI once.

    source: a folder (with all below it), one image, a list file (.txt, .csv, .parquet; relative entries are relative to its folder), a
    pattern (where nothing of that very name exists), or the same in an object store. Listed files that are absent stay, without size.
    SourceError in one line when it is not there, empty, or cannot be listed.
    """
    if not source:
        raise SourceError("no source was given")
    try:
        # inside, since listing happens as the inventory is filled
        inventory = inventory_of(_local(source) if scheme(source) == "file" else _remote(source))
    except StoreError as error:
        raise SourceError(str(error)) from error
    except OSError as error:
        raise SourceError(f"cannot list {_shown(source)}: {plain(error).lower()}") from error
    if not inventory.num_rows:
        raise SourceError(f"there is nothing in {_shown(source)}")
    return inventory


def at_first_sight(source: str) -> int | None:
    """How many images a source in S3 has, told by one or two requests; None where they do not tell: more than a page, a list, a pattern.

    SourceError in one line when it is not there, empty, or cannot be listed, as `list_images` would find after all its pages.
    """
    try:
        fs, path = split(source)
        if not path.strip("/"):
            raise SourceError(f"{source} names no bucket")
        with one_line("list", source):
            return _first_page(fs, path, source)
    except StoreError as error:
        raise SourceError(str(error)) from error


def inventory_of(listed: Iterable[Listed]) -> pa.Table:
    """What was listed, in any order, as `schema.INVENTORY`: sorted by URI, each URI once.

    Only `LISTED_AT_ONCE` files are Python objects at a time; a row of Arrow takes a fifth of their memory.
    """
    table = _by_uri(pa.concat_tables([INVENTORY.empty_table(), *_chunks(iter(listed))]))
    uris = table["image_uri"].combine_chunks()
    again = pc.equal(uris[1:], uris[:-1])
    return table.filter(pa.concat_arrays([pa.array([True] * min(1, len(uris))), pc.invert(again)])) if pc.any(again).as_py() else table


def plan_shards(inventory: pa.Table, shard_size: int | Cut) -> pa.Table:
    """Number the images, `schema.PLAN`, by URI, from shard 0. A function of its arguments alone.

    inventory: `schema.CANDIDATES`, or `schema.INVENTORY` where no earlier answer is to be taken. shard_size: images a shard, or a `Cut` by
    what images are expected to cost.
    """
    if not isinstance(shard_size, Cut) and shard_size < 1:
        raise ValueError(f"a shard holds at least one image, not {shard_size}")
    images = _by_uri(inventory)
    if "earlier_part" not in images.column_names:
        images = images.append_column("earlier_part", pa.nulls(images.num_rows, pa.string()))
    if isinstance(shard_size, Cut):
        ends = shard_ends(shard_size.rate.costs(listed_sizes(images["bytes"])), shard_size)
        shards = np.repeat(np.arange(len(ends), dtype=np.int32), np.diff(ends, prepend=0))
    else:
        shards = (np.arange(images.num_rows) // shard_size).astype(np.int32)
    return images.append_column("shard", pa.array(shards, pa.int32())).select(PLAN.names).cast(PLAN)


def shards_of(plan: pa.Table, shards: Iterable[int]) -> Iterator[tuple[int, tuple[ImageRef, ...]]]:
    """Some shards of a plan, which is by shard, each with its images; made one at a time."""
    numbers = plan["shard"].to_numpy()
    for shard in shards:
        first, end = np.searchsorted(numbers, [shard, shard + 1])
        yield shard, _refs(plan.slice(first, end - first))


def shard_images(plan: pa.Table, shard: int) -> tuple[ImageRef, ...]:
    """The images of one shard of a plan, in its order, which is by shard."""
    return next(shards_of(plan, [shard]))[1]


def _by_uri(table: pa.Table) -> pa.Table:
    """Sorted; the same table, not a second one of its size, where it is so already, as object stores list."""
    uris = table["image_uri"]
    in_order = pc.all(pc.less_equal(uris[:-1], uris[1:]), min_count=0).as_py() if len(uris) > 1 else True
    return table if in_order else table.take(pc.sort_indices(uris))


def _refs(rows: pa.Table) -> tuple[ImageRef, ...]:
    modified = rows["modified_at"].cast(pa.int64())  # no datetime: a clock that was wrong may exceed its years
    columns = (rows["image_uri"], rows["bytes"], rows["etag"], modified, rows["earlier_part"])
    return tuple(ImageRef(*values) for values in zip(*(column.to_pylist() for column in columns), strict=True))


def _chunks(listed: Iterator[Listed]) -> Iterator[pa.Table]:
    while found := list(islice(listed, LISTED_AT_ONCE)):
        yield _rows(found)


def _rows(found: Sequence[Listed]) -> pa.Table:
    columns = [
        pa.array([row.path if _is_object(row.path) else local_uri(row.path) for row in found], pa.string()),
        pa.array([row.size for row in found], pa.int64()),
        pa.array([row.etag for row in found], pa.string()),
        pa.array([row.modified_us for row in found], TIMESTAMP),
    ]
    return pa.Table.from_arrays(columns, schema=INVENTORY)


def _local(source: str) -> Iterable[Listed]:
    path = _absolute(_bare(source), os.getcwd())
    if not os.path.lexists(path) and source.startswith("~"):
        path = os.path.expanduser(source)
    if os.path.isdir(path):
        return walk(path.rstrip("/") or "/")
    if os.path.isfile(path):
        return _listed_by(path) if listfile.is_list(path) else [look(path)]
    if os.path.lexists(path):
        what = "is a link that leads nowhere" if os.path.islink(path) else "is no regular file"
        raise SourceError(f"{_shown(source)} {what}")
    if MAGIC.isdisjoint(path):
        raise SourceError(f"there is no {_shown(source)}")
    return _matching(path, source)


def _matching(pattern: str, source: str) -> list[Listed]:
    parts = [part for part in pattern.split("/") if part]
    fixed = next(index for index, part in enumerate(parts) if not MAGIC.isdisjoint(part))
    base = "/" + "/".join(parts[:fixed])
    found = list(expand(base, parts[fixed:])) if os.path.isdir(base) else []
    if not found:
        raise SourceError(f"no file matches {_shown(source)} (** at the end takes all that lies below folders)")
    return found


def _listed_by(file: str) -> Iterator[Listed]:
    """What a local list file names."""
    with open(file, "rb") as stream:
        names = listfile.entries(_shown(file), stream.read())
    return _looked_up(_absolute(_bare(name), os.path.dirname(file)) if scheme(name) == "file" else name for name in names)


def _looked_up(names: Iterable[str]) -> Iterator[Listed]:
    """Local paths are looked at one by one, objects by several requests at once. Other addresses stay for reading to refuse."""
    unique = list(dict.fromkeys(names))
    for name in unique:
        refuse_credentials(name)  # also where it names nothing that is read: names are written down
    objects = [name for name in unique if _is_object(name)]
    yield from (look(name) for name in unique if scheme(name) == "file")
    yield from (Listed(name) for name in objects if scheme(name) not in OBJECT_STORES)
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        yield from pool.map(_look_object, (name for name in objects if scheme(name) in OBJECT_STORES))


def _look_object(uri: str) -> Listed:
    fs, path = split(uri)
    with one_line("look for", uri):
        try:
            info = PATIENT.ask(lambda: fs.info(path))
        except (FileNotFoundError, PermissionError) as error:
            if is_refused(error):
                raise
            return Listed(unsplit(fs, path))
    return _object(fs, path, info) if info["type"] == "file" else Listed(unsplit(fs, path))


def _remote(source: str) -> list[Listed]:
    fs, path = split(source)
    if not path.strip("/"):
        raise SourceError(f"{source} names no bucket")
    with one_line("list", source):
        found = PATIENT.ask(lambda: _found(fs, path))
        if len(found) == 1 and listfile.is_list(path) and path.rstrip("/") in found:
            data = PATIENT.ask(lambda: bytes(fs.cat_file(path)))
            folder = unsplit(fs, path).rpartition("/")[0]
            return list(_looked_up(name if _is_object(name) else f"{folder}/{name}" for name in listfile.entries(source, data)))
        if not found and scheme(source) in S3:
            _first_page(fs, path, source)  # a bucket that is not there is told from an empty one
    if not found:
        raise SourceError(f"there is nothing at {source}")
    return [_object(fs, name, info) for name, info in found.items()]


def _found(fs: AbstractFileSystem, path: str) -> dict[str, Mapping[str, Any]]:
    """Objects at or below a path, or else those that it matches as a pattern."""
    try:
        found = fs.find(path.rstrip("/"), detail=True)
    except FileNotFoundError:
        found = {}
    if not found and not MAGIC.isdisjoint(path):
        found = fs.glob(path, detail=True)
    # objects named like folders are markers that some tools leave behind
    return {name: info for name, info in found.items() if info["type"] == "file" and not (name.endswith("/") and not info["size"])}


def _first_page(fs: AbstractFileSystem, path: str, source: str) -> int | None:
    """See `at_first_sight`. Below the name, then the very name, then what a pattern may match: as `_found` looks."""
    bucket, key, _ = fs.split_path(path.rstrip("/"))
    start = key[: min((key.index(mark) for mark in MAGIC if mark in key), default=len(key))]
    below = f"{key}/" if key else ""
    for prefix in dict.fromkeys((below, key, start)):
        page = PATIENT.ask(partial(fs.call_s3, "list_objects_v2", Bucket=bucket, Prefix=prefix))
        names = [row["Key"] for row in page.get("Contents", ()) if not (row["Key"].endswith("/") and not row["Size"])]
        if page.get("IsTruncated") or (names and prefix not in (below, key)):
            return None
        if names and prefix == below:
            return len(names)
        if key in names:
            return None if listfile.is_list(key) else 1
    raise SourceError(f"there is nothing at {source}")


def _object(fs: AbstractFileSystem, path: str, info: Mapping[str, Any]) -> Listed:
    etag = info.get("ETag") or info.get("etag")
    changed = next((info[key] for key in ("LastModified", "last_modified", "mtime", "created") if info.get(key)), None)
    return Listed(unsplit(fs, path), info["size"], _microseconds(changed), etag.strip('"') if etag else None)


def _microseconds(moment: object) -> int | None:
    if isinstance(moment, datetime):
        return (moment.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
    return round(moment * 1e6) if isinstance(moment, int | float) else None


def _is_object(name: str) -> bool:
    return scheme(name) != "file"


def _bare(name: str) -> str:
    """The path in a file URI: verbatim, as fsspec takes it, unless only the percent-decoded path is there or can be meant."""
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
