"""A collection of photographs: listing -> inventory -> deterministic shards."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_core import listfile
from fer_core.address import OBJECT_STORES, S3, local_path, local_uri, one_line, plain, refuse_credentials, scheme, split, unsplit
from fer_core.errors import SourceError, StoreError
from fer_core.listing import MAGIC, Listed, expand, look, walk
from fer_core.object_listing import as_listed, below, first_page, found, look_object
from fer_core.patience import PATIENT
from fer_core.run import ImageRef
from fer_core.schema import INVENTORY, PLAN, TIMESTAMP
from fer_core.shard_cost import Cut, listed_sizes, shard_ends
from fer_core.sorted_rows import aligned, by_uri, sorted_runs, spooled

REQUESTS_AT_ONCE: Final = 32
"""Objects of a list file that are looked up at a time."""
LISTED_AT_ONCE: Final = 4_000


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
            return first_page(fs, path, source)
    except StoreError as error:
        raise SourceError(str(error)) from error


def inventory_of(listed: Iterable[Listed]) -> pa.Table:
    """What was listed, in any order, as `schema.INVENTORY`: sorted by URI, each URI once.

    Only `LISTED_AT_ONCE` files are Python objects at a time, and of many the rows are on disk, see `sorted_rows.spooled`.
    """
    runs = sorted_runs(_chunks(iter(listed)), INVENTORY)
    if len(runs) == 1 and not pc.any(_again(runs[0])).as_py():
        return runs[0]
    return spooled((_once(by_uri(pa.concat_tables(pieces))) for pieces in aligned(runs)), INVENTORY)


def plan_shards(inventory: pa.Table, shard_size: int | Cut) -> pa.Table:
    """Number the images, `schema.PLAN`, by URI, from shard 0. A function of its arguments alone.

    inventory: `schema.CANDIDATES`, or `schema.INVENTORY` where no earlier answer is to be taken. shard_size: images a shard, or a `Cut` by
    what images are expected to cost.
    """
    if not isinstance(shard_size, Cut) and shard_size < 1:
        raise ValueError(f"a shard holds at least one image, not {shard_size}")
    images = by_uri(inventory)
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


def _once(rows: pa.Table) -> pa.Table:
    """Sorted rows without those of the URI before them."""
    return rows.filter(pa.concat_arrays([pa.array([True] * min(1, rows.num_rows)), pc.invert(_again(rows)).combine_chunks()]))


def _again(rows: pa.Table) -> pa.ChunkedArray:
    """Of sorted rows, all but the first: whether the URI is that of the row before."""
    return pc.equal(rows["image_uri"][1:], rows["image_uri"][:-1])


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
        yield from pool.map(look_object, (name for name in objects if scheme(name) in OBJECT_STORES))


def _remote(source: str) -> Iterable[Listed]:
    fs, path = split(source)
    if not path.strip("/"):
        raise SourceError(f"{source} names no bucket")
    if scheme(source) in S3:
        objects = below(fs, path, source)
        if (first := next(objects, None)) is not None:
            return chain([first], objects)
    with one_line("list", source):
        matching = PATIENT.ask(lambda: found(fs, path))
        if len(matching) == 1 and listfile.is_list(path) and path.rstrip("/") in matching:
            data = PATIENT.ask(lambda: bytes(fs.cat_file(path)))
            folder = unsplit(fs, path).rpartition("/")[0]
            return list(_looked_up(name if _is_object(name) else f"{folder}/{name}" for name in listfile.entries(source, data)))
    if not matching:
        raise SourceError(f"there is nothing at {source}")
    return [as_listed(fs, name, info) for name, info in matching.items()]


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
