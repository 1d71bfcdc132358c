"""Images whose rows were removed for their age, and that no later run labels again unless they change: `_meta/expired.parquet`.

Of each image keyed digests are kept, under a random key in the same file: of its address; of address, size and time (or entity tag) as the
listing had them; and of its content. They hold no names, and a reader of the root can test a name or a photograph that is known already.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.part_reader import UNREADABLE as DAMAGED
from fer_core.errors import CommitError
from fer_core.json_reader import parse_object
from fer_core.storage.paths import META
from fer_core.storage.spill import ROW_LIMITS
from fer_core.storage.store import Store
from fer_core.tables.schema import IMAGES, INVENTORY, MISSING, UNREADABLE

FILE: Final = f"{META}/expired.parquet"
KEYED: Final = pa.schema([("address", pa.binary()), ("listing", pa.binary()), ("content", pa.binary())])
"""One row an image. `address` and `listing` are null where another row of the image remains in the tables, `content` where another image
with it remains there; `listing` also where the listing does not tell when an image changes, `content` where it was not read."""
SEEN: Final = pa.schema([IMAGES.field(name) for name in (*INVENTORY.names, "image_sha256", "status")]).remove_metadata()
"""Columns of `images` that say what an image was when its rows were made."""
_IDENTIFIED: Final = (("address", "image_uri"), ("content", "image_sha256"))
DIGEST_BYTES: Final = 16
"""Of a keyed digest: two images do not agree by chance."""


@dataclass(frozen=True, slots=True)
class ExpiredList:
    """Keyed digests of images whose rows were removed for their age."""

    key: str
    """64 hexadecimal digits."""
    images: pa.Table = field(default_factory=KEYED.empty_table)
    """`KEYED`."""
    pending: dict[str, Any] = field(default_factory=dict)
    """The removal that was begun and may be unfinished; empty where there is none."""

    @classmethod
    def new(cls) -> Self:
        """An empty list with a new key."""
        return cls(secrets.token_hex(32))

    @property
    def empty(self) -> bool:
        """Whether it leaves nothing out."""
        return not self.images.num_rows

    def has_listing(self, rows: pa.Table) -> pa.ChunkedArray:
        """For each row whether its image is in the list, with the same size and time. rows: with the columns of `INVENTORY`."""
        return self._holds("listing", self._listings(rows))

    def has_content(self, rows: pa.Table) -> pa.ChunkedArray:
        """For each row whether its content is that of an image in the list. rows: with `image_sha256`."""
        return self._holds("content", self._digests(rows, "image_sha256"))

    def has_address(self, rows: pa.Table) -> pa.ChunkedArray:
        """For each row whether the rows of its address were removed, whatever is there now. rows: with `image_uri`."""
        return self._holds("address", self._digests(rows, "image_uri"))

    def of_addresses(self, uris: Iterable[str]) -> Self:
        """The images whose rows at these addresses were removed."""
        asked = self._digests(pa.table({"image_uri": pa.array(uris, pa.string())}), "image_uri")
        return replace(self, images=self.images.filter(pc.is_in(self.images["address"], value_set=asked.combine_chunks(), skip_nulls=True)))

    def extended(self, gone: Iterable[pa.Table], remaining: Iterable[pa.Table] = ()) -> Self:
        """A copy with the images whose rows go. gone: `SEEN`. remaining: `SEEN`, of the rows that stay in the tables."""
        new = pa.concat_tables([KEYED.empty_table(), *(self._keyed(rows) for rows in gone)]).combine_chunks()
        for rows in remaining:
            address, content = (_without(new[column], self._digests(rows, name)) for column, name in _IDENTIFIED)
            listing = pc.if_else(pc.is_valid(address), new["listing"], pa.scalar(None, pa.binary()))
            new = pa.table([address, listing, content], schema=KEYED)
        some = pc.or_(pc.is_valid(new["address"]), pc.is_valid(new["content"]))
        images = pa.concat_tables([self.images, new.filter(some)]).group_by(KEYED.names, use_threads=False).aggregate([])
        return replace(self, images=images.select(KEYED.names).cast(KEYED).sort_by([(name, "ascending") for name in KEYED.names]))

    def to_bytes(self) -> bytes:
        """Parquet, sorted: the same entries give the same bytes."""
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        metadata = {"fer.key": self.key, "fer.pending": json.dumps(self.pending, sort_keys=True, ensure_ascii=False)}
        pq.write_table(self.images.replace_schema_metadata(metadata), sink, compression="zstd", use_dictionary=False)
        return bytes(sink.getvalue())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; one of those errors of `part_reader` for anything else."""
        import pyarrow.parquet as pq

        found = pq.read_table(pa.BufferReader(data), use_threads=False)
        said = {name.decode(): value.decode() for name, value in (found.schema.metadata or {}).items()}
        images = found.replace_schema_metadata(None).select(KEYED.names).cast(KEYED)
        images.validate(full=True)
        if len(bytes.fromhex(said["fer.key"])) < 32:
            raise ValueError("a list without a key")
        return cls(said["fer.key"], images, parse_object(said["fer.pending"]))

    def _keyed(self, rows: pa.Table) -> pa.Table:
        """`KEYED` of rows that will not be read again by themselves: a run tries to read the others every night."""
        never_read = pc.and_(pc.equal(rows["status"], UNREADABLE), pc.is_null(rows["image_sha256"]))
        transient = pc.or_(pc.equal(rows["status"], MISSING), never_read)
        rows = rows.filter(pc.invert(pc.fill_null(transient, True)))
        return pa.table([self._digests(rows, "image_uri"), self._listings(rows), self._digests(rows, "image_sha256")], schema=KEYED)

    def _digests(self, rows: pa.Table, name: str) -> pa.ChunkedArray:
        batches = rows.select([name]).to_batches(ROW_LIMITS.rows)
        return self._array((None if text is None else f"{name}\0{text}" for text in batch[name].to_pylist()) for batch in batches)

    def _listings(self, rows: pa.Table) -> pa.ChunkedArray:
        """Null where size or time are unknown: whether such an image has changed is known when it is read."""

        def texts(batch: pa.RecordBatch) -> Iterator[str | None]:
            columns = [batch[name].to_pylist() for name in ("image_uri", "bytes", "etag")]
            for uri, size, etag, changed in zip(*columns, batch["modified_at"].cast(pa.int64()).to_pylist(), strict=True):
                version = f"time {changed}" if etag is None else f"tag {etag}"
                yield None if size is None or (etag is None and changed is None) else f"listing\0{uri}\0{size}\0{version}"

        return self._array(texts(batch) for batch in rows.to_batches(ROW_LIMITS.rows))

    def _array(self, batches: Iterable[Iterable[str | None]]) -> pa.ChunkedArray:
        """Keyed digests, in the same chunks."""
        key = bytes.fromhex(self.key)

        def digest(text: str) -> bytes:
            return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), key=key, digest_size=DIGEST_BYTES).digest()

        chunks = [pa.array([None if text is None else digest(text) for text in batch], pa.binary()) for batch in batches]
        return pa.chunked_array(chunks, pa.binary())

    def _holds(self, name: str, digests: pa.ChunkedArray) -> pa.ChunkedArray:
        return pc.is_in(digests, value_set=self.images[name].combine_chunks(), skip_nulls=True)


def _without(digests: pa.ChunkedArray, others: pa.ChunkedArray) -> pa.ChunkedArray:
    """Null in the place of those that are in another column too."""
    return pc.if_else(pc.is_in(digests, value_set=others.combine_chunks(), skip_nulls=True), pa.scalar(None, pa.binary()), digests)


def read_expired_list(store: Store) -> ExpiredList:
    """The list of a root; a new, empty one where nothing has expired. CommitError where it is damaged."""
    if not store.exists(FILE):
        return ExpiredList.new()
    try:
        return ExpiredList.from_bytes(store.read_bytes(FILE))
    except DAMAGED as error:
        raise CommitError(f"the list of expired images cannot be read: {store.url(FILE)}") from error


def write_expired_list(store: Store, expired: ExpiredList) -> None:
    """Replace the list in one step. The caller holds the root's lease."""
    store.write_bytes(FILE, expired.to_bytes())


def remove_expired_list(store: Store) -> None:
    """Later runs label those images again. The caller holds the root's lease, and no removal is pending."""
    store.remove_file(FILE)
