"""Images of a root that another model can label: the newest result of each image, and the parts with the crops of its faces.

Only the model's predictions change. An image can be relabelled when its newest result has faces of which a run kept the crops, or has no
face; everything else (boxes, points, quality, that there is no face) is copied. The *look* is the base pipeline: detector, alignment,
quality measures and limits, that is the whole pipeline but for the model. Crops belong to a result when they were cut from the same content
with the same look.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.manifest import Manifest, Part
from fer_core.commit.part_reader import read_part
from fer_core.commit.plan import as_plan
from fer_core.commit.publish import committed_runs, read_manifest
from fer_core.errors import CommitError
from fer_core.run.configuration import KEPT_CROPS, Answering, RunConfig
from fer_core.storage.paths import part_beside
from fer_core.storage.store import REQUESTS_AT_ONCE, Store
from fer_core.tables.schema import IMAGES, INVENTORY, LABELED, MISSING, NO_FACE, UNREADABLE

OPEN: Final[pa.Schema] = pa.schema(
    [*INVENTORY, ("look", pa.int32()), ("kept_in", pa.int32()), ("answer_in", pa.int32()), ("n_faces", pa.int32())]
)
"""One row an image that can be relabelled, listed as in its newest result; sorted by look, `kept_in` and URI.

`look`: number of the look in `Survey.looks`. `kept_in`: number in `Survey.parts` of the images part of a labelling run beside which its
crops are, if it has faces. `answer_in`: number of the images part with its newest result.
"""

_READ: Final = pa.schema([IMAGES.field(name) for name in (*INVENTORY.names, "image_sha256", "status", "n_faces", "pipeline_digest")])
_ROWS: Final[pa.Schema] = pa.schema(
    [
        *INVENTORY,
        ("image_sha256", pa.string()),
        ("status", pa.dictionary(pa.int32(), pa.string())),
        ("n_faces", pa.int32()),
        ("look", pa.int32()),
        ("done", pa.bool_()),
        ("part", pa.int32()),
        ("kept", pa.bool_()),
    ]
)
"""Rows of one images part. `done`: already labelled by the given model. `kept`: the crops for a relabelling are beside it."""
_SAME: Final = ("image_uri", "image_sha256", "look", "n_faces")
"""Columns in which two results must agree for the crops of one to belong to the other."""

SOURCE: Final = KEPT_CROPS


@dataclass(frozen=True, slots=True)
class Survey:
    """Images to relabel with one model."""

    images: pa.Table
    """`OPEN`: images that it has not labelled yet."""
    unchanged: int
    """Images that it has labelled with the look of their newest result."""
    without_crops: int
    """Images with faces of which no crops were kept; they are for the next run over the photographs."""
    looks: tuple[RunConfig, ...]
    """Each look, as the configuration of its newest run."""
    parts: tuple[str, ...]
    """Paths of images parts."""

    def plan(self, shard_size: int) -> pa.Table:
        """`schema.PLAN`: shards of so many images at most, each of one look and of few parts. `earlier_part` is beside the crops."""
        looks = self.images["look"].to_numpy()
        starts = np.searchsorted(looks, looks)  # of each row's look: the rows are sorted by it
        piece = (np.arange(len(looks)) - starts) // shard_size
        first = np.r_[True, (looks[1:] != looks[:-1]) | (piece[1:] != piece[:-1])] if len(looks) else np.zeros(0, np.bool_)
        shards = np.cumsum(first) - 1
        paths = pa.DictionaryArray.from_arrays(self.images["kept_in"].combine_chunks(), pa.array(self.parts, pa.string()))
        planned = self.images.select(INVENTORY.names).append_column("shard", pa.array(shards, pa.int32()))
        return as_plan(planned.append_column("earlier_part", paths.cast(pa.string()))).sort_by([("shard", "ascending"), _BY_URI])

    def images_with(self, faces: int) -> int:
        """Number of images with so many faces on average; at least one."""
        found = int(self.images["n_faces"].to_numpy().sum())
        return max(1, faces * len(self.images) // max(found, 1))

    def shared_pipeline(self) -> RunConfig:
        """The look of most images; where there are none, of the newest run."""
        looks = self.images["look"].to_numpy()
        return self.looks[int(np.bincount(looks).argmax())] if len(looks) else self.looks[-1]


_BY_URI: Final = ("image_uri", "ascending")


NO_MODEL: Final = Answering("")


def survey(store: Store, answering: Answering, before_us: int | None = None) -> Survey:
    """Images of the committed runs of a root that a model can relabel, by their manifests only.

    before_us: only runs planned earlier count (microseconds since the epoch; None: all). CommitError when there is no run, when none has
    kept crops, or when a part is missing or damaged.
    """
    manifests = _by_age(store, before_us)
    looks = _looks(manifests)
    if not any(manifest.has_crops for manifest in manifests):
        raise CommitError(f"no run under {store.url()} has kept the crops of its faces: label with --keep-crops first")
    parts = [(manifest, part) for manifest in manifests for part in manifest.parts_of("images")]

    def rows(number: int) -> pa.Table:
        manifest, part = parts[number]
        return _rows(_read(store, manifest, part), manifest, list(looks.values()), answering, number)

    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        found = pa.concat_tables([_ROWS.empty_table(), *pool.map(rows, range(len(parts)))], promote_options="permissive")
    newest = _newest(found)
    todo = newest.filter(pc.invert(newest["done"]))
    without, images = _open(todo, found)
    paths = tuple(part.path for _, part in parts)
    return Survey(images, newest.num_rows - todo.num_rows, without, tuple(looks.values()), paths)


def run_id_of(path: str) -> str:
    """The run that a published part is of: `images/run_date=.../run=<id>/part-00000.parquet` -> `<id>`."""
    return path.split("/")[2].removeprefix("run=")


def parts_beside(manifest: Manifest, paths: Iterable[str], table: str) -> Sequence[Part]:
    """The parts of one table beside some of the run's parts; where an earlier release has compacted those since the plan, all of that
    table."""
    pointed = {part_beside(path, table) for path in paths}
    promised = manifest.parts_of(table)
    found = [part for part in promised if part.path in pointed]
    return found if len(found) == len(pointed) else promised


def _by_age(store: Store, before_us: int | None) -> list[Manifest]:
    """Of two runs planned in the same microsecond, the one whose id sorts last counts as the later, as in the view `current`."""
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        manifests = list(pool.map(lambda run_id: read_manifest(store, run_id), committed_runs(store)))
    chosen = [manifest for manifest in manifests if before_us is None or manifest.config["started_us"] < before_us]
    if not chosen:
        raise CommitError(f"no run has been committed under {store.url()} yet")
    return sorted(chosen, key=lambda manifest: (manifest.config["started_us"], manifest.run_id))


def _looks(manifests: Sequence[Manifest]) -> dict[str, RunConfig]:
    """The looks of all runs, the newest last. A run of a release with another alignment or other measures has none."""
    looks: dict[str, RunConfig] = {}
    for manifest in manifests:
        config = manifest.run_config()
        if config.pipeline_digest == manifest.pipeline_digest:
            key = config.answered_by(NO_MODEL).pipeline_digest
            looks.pop(key, None)
            looks[key] = config
    if not looks:
        raise CommitError("the crops of all runs are from releases with another alignment: label the photographs again")
    return looks


def _read(store: Store, manifest: Manifest, part: Part) -> pa.Table:
    return read_part(store, part, _READ, manifest.run_id)


def _rows(rows: pa.Table, manifest: Manifest, looks: Sequence[RunConfig], answering: Answering, number: int) -> pa.Table:
    """`_ROWS` of one part. A run may hold rows of several looks, if it relabelled such."""
    own = manifest.run_config().answering
    digests = [look.answered_by(own).pipeline_digest for look in looks]
    look = pc.index_in(rows["pipeline_digest"], value_set=pa.array(digests, pa.string())).combine_chunks()
    done = pc.fill_null(pc.and_(pc.is_valid(look), own == answering), False)
    added: Mapping[str, pa.Array] = {
        "look": look,
        "done": done,
        "part": pa.repeat(pa.scalar(number, pa.int32()), rows.num_rows),
        "kept": _kept(rows["status"], manifest),
    }
    columns = [added[field.name] if field.name in added else _column(rows[field.name], field.type) for field in _ROWS]
    return pa.table(columns, schema=_ROWS)


def _kept(status: pa.ChunkedArray, manifest: Manifest) -> pa.Array:
    """Crops are beside faces where the run kept them. A relabelling has no crops, and its rows may be of several looks."""
    without_faces = pc.and_(pc.equal(status, NO_FACE), manifest.source != SOURCE)
    with_faces = pc.and_(pc.equal(status, LABELED), manifest.has_crops)
    return pc.fill_null(pc.or_(without_faces, with_faces), False)


def _column(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return column.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else column.cast(kind)


def _newest(rows: pa.Table) -> pa.Table:
    """The newest result of each image, among those with or without faces, by the rule of `current_view.CURRENT`."""
    status = rows["status"].cast(pa.string())
    came = pc.or_(pc.not_equal(status, UNREADABLE), pc.is_valid(rows["image_sha256"]))
    answers = rows.filter(pc.fill_null(pc.and_(pc.not_equal(status, MISSING), came), False))
    newest = answers.take(_last(answers, ("image_uri",)))
    looked = pc.is_in(newest["status"].cast(pa.string()), value_set=pa.array([LABELED, NO_FACE]))
    return newest.filter(looked)


def _last(rows: pa.Table, keys: Sequence[str]) -> pa.Array:
    """Numbers of the last rows of each key."""
    numbered = rows.select(list(keys)).append_column("row", pa.array(np.arange(rows.num_rows)))
    return numbered.group_by(list(keys)).aggregate([("row", "max")])["row_max"].combine_chunks()


def _open(todo: pa.Table, rows: pa.Table) -> tuple[int, pa.Table]:
    """Number of images with faces without crops, and `OPEN`."""
    kept = rows.filter(pc.and_(rows["kept"], pc.is_valid(rows["look"])))
    kept = kept.take(_last(kept, _SAME)).select([*_SAME, "part"]).rename_columns([*_SAME, "kept_in"])
    joined = todo.drop_columns(["status"]).join(kept, list(_SAME), join_type="left outer")
    found = pc.is_valid(joined["kept_in"])
    without = joined.filter(pc.and_(pc.invert(found), pc.greater(joined["n_faces"], 0))).num_rows
    images = joined.filter(found).rename_columns({"part": "answer_in"}).select(OPEN.names).cast(OPEN)
    return without, images.sort_by([("look", "ascending"), ("kept_in", "ascending"), _BY_URI])
