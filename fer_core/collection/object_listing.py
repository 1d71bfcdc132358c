"""Listing of an object store: names below a name, page by page where the store has pages, and matches of patterns."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from fsspec import AbstractFileSystem

from fer_core.collection import list_file
from fer_core.collection.local_listing import ListedFile
from fer_core.collection.name_filter import MAGIC, NameFilter
from fer_core.errors import SourceError
from fer_core.storage.retry import DEFAULT_RETRY, is_auth_error
from fer_core.storage.uri import as_store_error, is_too_long, scheme, split, unsplit

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def list_objects(fs: AbstractFileSystem, path: str, source: str) -> Iterator[ListedFile]:
    """Objects of S3 below a name, as they come: a page of a thousand is in memory at a time. None is found where the name is an object's.

    source: the name as the user gave it. StoreError when it cannot be listed.
    """
    bucket, key, _ = fs.split_path(path.rstrip("/"))
    after: dict[str, str] = {}
    while True:
        with as_store_error("list", source):
            page = _page(fs, bucket, f"{key}/" if key else "", **after)
        for row in page.get("Contents", ()):
            if not _is_marker(row["Key"], row["Size"]):
                yield to_listed_file(fs, f"{bucket}/{row['Key']}", {**row, "size": row["Size"]})
        if not page.get("IsTruncated"):
            return
        after = {"ContinuationToken": page["NextContinuationToken"]}


def find_objects(fs: AbstractFileSystem, path: str) -> dict[str, Mapping[str, Any]]:
    """Objects at or below a path, or else those that it matches as a pattern."""
    try:
        names = fs.find(path.rstrip("/"), detail=True)
    except FileNotFoundError:
        names = {}
    if not names and not MAGIC.isdisjoint(path):
        names = fs.glob(path, detail=True)
    return {name: info for name, info in names.items() if info["type"] == "file" and not _is_marker(name, info["size"])}


def first_page(fs: AbstractFileSystem, path: str, source: str, names: NameFilter) -> int | None:
    """Number of objects of a source in S3, by one or two requests; None where these are not enough, see `inventory.quick_count`.

    Below the name, then the very name, then matches of a pattern, like `list_objects` and `find_objects`. names: of those below the name.
    SourceError where nothing is there.
    """
    bucket, key, _ = fs.split_path(path.rstrip("/"))
    start = key[: min((key.index(mark) for mark in MAGIC if mark in key), default=len(key))]
    below = f"{key}/" if key else ""
    for prefix in dict.fromkeys((below, key, start)):
        page = _page(fs, bucket, prefix)
        keys = [row["Key"] for row in page.get("Contents", ()) if not _is_marker(row["Key"], row["Size"])]
        if page.get("IsTruncated") or (keys and prefix not in (below, key)):
            return None
        if keys and prefix == below:
            return sum(names.takes_object(unsplit(fs, f"{bucket}/{one}")) for one in keys) or None
        if key in keys:
            return None if list_file.is_list(key) else 1
    raise SourceError(f"there is nothing at {source}")


def stat_object(uri: str, anonymous: bool = False) -> ListedFile:
    """One object as it is now; without size where it is not there, or is no object. StoreError when the store does not answer."""
    fs, path = split(uri, anonymous)
    with as_store_error("look for", uri):
        try:
            info = DEFAULT_RETRY.call(lambda: fs.info(path))
        except (FileNotFoundError, PermissionError) as error:
            if is_auth_error(error):
                raise
            return ListedFile(unsplit(fs, path))
    return to_listed_file(fs, path, info) if info["type"] == "file" else ListedFile(unsplit(fs, path))


def beside(folder: str, name: str) -> str:
    """The URI of an entry of a list in an object store: relative to the list's folder, or a URI. `..` does not leave the bucket."""
    if scheme(name) != "file" or is_too_long(name):
        return name
    if {".", ".."}.isdisjoint(name.split("/")):
        return f"{folder}/{name}"
    kind, _, place = folder.partition("://")
    bucket, *folders = place.split("/")
    for step in name.split("/"):
        if step == "..":
            folders = folders[:-1]
        elif step != ".":
            folders.append(step)
    return f"{kind}://{'/'.join((bucket, *folders))}"


def to_listed_file(fs: AbstractFileSystem, path: str, info: Mapping[str, Any]) -> ListedFile:
    """An object from the store's own fields: `size` in bytes, perhaps an etag, perhaps a modification time."""
    etag = info.get("ETag") or info.get("etag")
    changed = next((info[key] for key in ("LastModified", "last_modified", "mtime", "created") if info.get(key)), None)
    return ListedFile(unsplit(fs, path), info["size"], _microseconds(changed), etag.strip('"') if etag else None)


def _page(fs: AbstractFileSystem, bucket: str, prefix: str, **after: str) -> dict[str, Any]:
    found: dict[str, Any] = DEFAULT_RETRY.call(partial(fs.call_s3, "list_objects_v2", Bucket=bucket, Prefix=prefix, **after))
    return found


def _is_marker(name: str, size: int) -> bool:
    """Objects named like folders are markers that some tools leave behind."""
    return name.endswith("/") and not size


def _microseconds(moment: object) -> int | None:
    if isinstance(moment, datetime):
        return (moment.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
    return round(moment * 1e6) if isinstance(moment, int | float) else None
