"""Nights whose faces are drawn from a world that may have changed, committed as real parts without any picture."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from fer_core.commit.plan import Plan, write_plan
from fer_core.commit.publish import publish
from fer_core.labels import EXPRESSIONS
from fer_core.run.part_name import PartName
from fer_core.run.receipts import PartReceipt, ShardReceipt
from fer_core.run.shard_job import ImageRef
from fer_core.storage.paths import staged_file
from fer_core.storage.store import open_store
from fer_core.tables.builder import ImageFacts, images_table, labels_table, part_metadata
from fer_core.tables.parquet_writer import write_part
from fer_core.tables.schema import LABELED, NO_FACE
from fer_core.types import Faces, Predictions, Quality
from tests.support import fakes

DAY_US = 86_400_000_000


def night(root, run_id, day, faces=250, happy=0.5, size=90.0, no_face=0.1, model=1, prior="training", **faces_found):
    """A run of one face an image, and of images without a face.

    happy: share of happiness; size: median face size in pixels; faces_found: `min_face` and `detector_identity` of the run.
    """
    rng = np.random.default_rng([day, faces])
    started = fakes.STARTED_US + day * DAY_US
    date = f"{datetime.fromtimestamp(started / 1e6, UTC):%Y-%m-%d}"
    run = replace(fakes.config(root, run_id), run_date=date, started_us=started, model_digest=str(model) * 64, prior=prior, **faces_found)
    empty = rng.binomial(faces, no_face)
    refs = [ImageRef(f"/photos/secret-{day}-{number:05d}.jpg", 1, None, 0) for number in range(faces + empty)]
    sizes = (size * np.exp(0.5 * rng.standard_normal(faces))).astype(np.float32)
    facts = [_labelled(ref, rng, side) for ref, side in zip(refs, sizes, strict=False)]
    facts += [ImageFacts(ref, NO_FACE, None, hashlib.sha256(ref.uri.encode()).hexdigest()) for ref in refs[faces:]]
    tables = {"labels": labels_table(run, facts, _answers(rng, faces, happy)), "images": images_table(run, facts)}
    store = open_store(str(root))
    write_plan(store, Plan(run, fakes.plan_table(refs, len(refs)), listed=len(refs), unchanged=0, deleted=0))
    parts = []
    for name, table in tables.items():
        data = write_part(table, part_metadata(run))
        part = PartReceipt(name, PartName(0), table.num_rows, len(data), hashlib.sha256(data).hexdigest())
        store.write_bytes(staged_file(run_id, part), data)
        parts.append(part)
    said = tables["labels"]["expression"].to_pylist()
    expressions = {name: said.count(name) for name in EXPRESSIONS}
    return publish(store, run, [ShardReceipt(PartName(0), tuple(parts), {LABELED: faces, NO_FACE: empty}, expressions, faces, {})])


def _labelled(ref, rng, side):
    one = np.ones(1, np.float32)
    box = np.array([[0, 0, side, side]], np.float32)
    quality = Quality(one * side, one * rng.beta(4, 2), one * 0.9, *(one * np.float32(value) for value in rng.normal(0, (20, 10, 5))))
    faces = Faces(box, np.zeros((1, 5, 2), np.float32), one * np.float32(rng.beta(8, 2)))
    return ImageFacts(ref, LABELED, None, hashlib.sha256(ref.uri.encode()).hexdigest(), 100, 100, faces, quality)


def _answers(rng, faces, happy):
    shares = np.full(8, (1 - happy) / 7)
    shares[EXPRESSIONS.index("happiness")] = happy
    index = rng.choice(8, faces, p=shares)
    confidence = rng.uniform(0.6, 1.0, faces).astype(np.float32)
    probabilities = np.tile(((1 - confidence) / 7)[:, None], (1, 8)).astype(np.float32)
    probabilities[np.arange(faces), index] = confidence
    return Predictions(probabilities, index.astype(np.int64), confidence, 1 - confidence, confidence < 0.65)
