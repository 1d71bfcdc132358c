"""Roots with a past: nights whose outcome for each image is written down, committed as real parts, and what is current after them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from fer_core.commit.manifest import Manifest
from fer_core.commit.plan import Plan, write_plan
from fer_core.commit.publish import publish
from fer_core.run.configuration import RunConfig
from fer_core.run.part_name import PartName
from fer_core.run.receipts import PartReceipt, ShardReceipt
from fer_core.run.shard_job import ImageRef
from fer_core.storage.paths import staged_file
from fer_core.storage.store import open_store
from fer_core.tables.builder import ImageFacts, images_table, labels_table, part_metadata
from fer_core.tables.parquet_writer import write_part
from fer_core.tables.schema import IMAGE_STATUSES, LABELED
from fer_core.types import Faces, Predictions, Quality
from tests.support import fakes


@dataclass(frozen=True)
class Outcome:
    """What a night found in one image."""

    status: str
    read: bool
    """Whether its bytes came, so that the row has a digest."""
    faces: int = 0

    @property
    def answers(self):
        """Whether the next night leaves the image alone, put in other words than the view puts it."""
        nothing_came = self.status == "unreadable" and not self.read
        return self.status in set(IMAGE_STATUSES) - {"missing"} and not nothing_came


@dataclass(frozen=True)
class Night:
    """One run."""

    run_id: str
    started: int
    """Microseconds after the first night."""
    outcomes: Mapping[str, Outcome]
    """By image URI."""


def config(root, night: Night) -> RunConfig:
    return replace(fakes.config(root, night.run_id), started_us=fakes.STARTED_US + night.started)


def tables(night: Night, root="/labels"):
    """The rows that the night writes: images, labels."""
    run = config(root, night)
    facts = [facts_of(uri, outcome) for uri, outcome in sorted(night.outcomes.items())]
    count = sum(found.n_faces for found in facts)
    probabilities = np.tile(np.array([0.65, *[0.05] * 7], np.float32), (count, 1))
    floats = np.full(count, 0.65, np.float32)
    answers = Predictions(probabilities, np.zeros(count, np.int64), floats, floats, np.zeros(count, np.bool_))
    return images_table(run, facts), labels_table(run, facts, answers)


def commit(root, night: Night, shard_size: int = 3) -> Manifest:
    """The night as a committed run."""
    run, store = config(root, night), open_store(str(root))
    uris = sorted(night.outcomes)
    refs = [facts_of(uri, night.outcomes[uri]).ref for uri in uris]
    write_plan(store, Plan(run, fakes.plan_table(refs, shard_size), listed=len(refs), unchanged=0, deleted=0))
    shards = [uris[start : start + shard_size] for start in range(0, len(uris), shard_size)]
    shards_done = [_stage(run, night, number, shard) for number, shard in enumerate(shards)]
    return publish(store, run, shards_done, largest_part=0)  # a few images make several files


def _stage(run: RunConfig, night: Night, number: int, uris: Sequence[str]) -> ShardReceipt:
    shard = replace(night, outcomes={uri: night.outcomes[uri] for uri in uris})
    store, name, parts = open_store(run.root), PartName(number), []
    images, labels = tables(shard, run.root)
    for table, rows in (("labels", labels), ("images", images)):
        data = write_part(rows, part_metadata(run))
        receipt = PartReceipt(table, name, rows.num_rows, len(data), hashlib.sha256(data).hexdigest())
        store.write_bytes(staged_file(run.run_id, receipt), data)
        parts.append(receipt)
    statuses = images["status"].to_pylist()
    counts = {status: statuses.count(status) for status in set(statuses)}
    return ShardReceipt(name, tuple(parts), counts, {"neutral": labels.num_rows}, labels.num_rows, {})


def facts_of(uri: str, outcome: Outcome) -> ImageFacts:
    count = outcome.faces
    left = np.arange(count, dtype=np.float32) * 40
    boxes = np.stack([left, left, left + 30, left + 36], axis=1)
    faces = Faces(boxes, np.zeros((count, 5, 2), np.float32), np.full(count, 0.9, np.float32))
    quality = Quality(*(np.full(count, value, np.float32) for value in (32.9, 0.9, 0.9, 0, 0, 0)))
    sha256 = hashlib.sha256(uri.encode()).hexdigest() if outcome.read else None
    return ImageFacts(
        ImageRef(uri, 1, None, 0), outcome.status, None, sha256, None, None, faces if count else None, quality if count else None
    )


def current(nights: Sequence[Night]) -> list[tuple[str, int, str]]:
    """(URI, face index, run id) of each current label, sorted: what the view must say, in plain Python."""
    newest: dict[str, Night] = {}
    for night in sorted(nights, key=lambda night: (night.started, night.run_id)):
        newest |= {uri: night for uri, outcome in night.outcomes.items() if outcome.answers}
    rows = [(uri, face, night.run_id) for uri, night in newest.items() for face in range(night.outcomes[uri].faces)]
    return sorted(rows, key=lambda row: (row[0].encode(), row[1]))


def labeled(faces: int) -> Outcome:
    return Outcome(LABELED, True, faces)


URIS = ("/photos/a.jpg", "/photos/b.jpg", "/photos/b.jpg2", "/photos/é 🙂.jpg", "/photos/z")

_OUTCOMES = st.one_of(
    st.integers(1, 3).map(labeled),
    st.sampled_from([status for status in IMAGE_STATUSES if status != LABELED]).flatmap(
        lambda status: st.booleans().map(lambda read: Outcome(status, read))
    ),
)


@st.composite
def nights(draw):
    """Up to five nights, some of them planned in the same microsecond, their ids in no order."""
    ids = draw(st.lists(st.sampled_from(["a", "b", "c1", "c10", "c2"]), min_size=1, max_size=5, unique=True))
    return [Night(run_id, draw(st.integers(0, 3)), draw(st.dictionaries(st.sampled_from(URIS), _OUTCOMES))) for run_id in ids]
