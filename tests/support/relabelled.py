"""Relabellings in this process, over the fakes' pictures."""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from fer_core.commit.plan import Plan, write_plan
from fer_core.commit.publish import publish
from fer_core.pipeline.shard import label_shard
from fer_core.pipeline.shard_jobs import jobs
from fer_core.relabel.configuration import RelabelOptions, relabel_config
from fer_core.relabel.shard import relabel_shard
from fer_core.relabel.survey import survey
from fer_core.run.configuration import Answering
from fer_core.storage.store import open_store
from fer_core.types import Predictions
from tests.support import fakes


@dataclass
class SeedPredictor:
    """Another fake for each seed: what it says hangs on the crop's content and the seed."""

    seed: int

    @property
    def digest(self):
        return f"{self.seed:064x}"

    def predict(self, crops, /):
        drawn = [np.random.default_rng([self.seed, *hashlib.sha256(crop.tobytes()).digest()[:8]]).dirichlet(np.ones(8)) for crop in crops]
        probabilities = np.array(drawn, np.float32).reshape(-1, 8)
        confidence = probabilities.max(axis=1, initial=0)
        return Predictions(probabilities, probabilities.argmax(axis=1), confidence, 1 - confidence, confidence < 0.4)


def label(root, folder, run_id="night", seed=0, hour=0, keep_crops=True, images=None, **changed):
    """A night over a folder of fake pictures. images: how they were listed, if they were spoiled since."""
    run = replace(fakes.config(root, run_id), model_digest=SeedPredictor(seed).digest, keep_crops=keep_crops, **changed)
    run = replace(run, started_us=run.started_us + hour * 3_600_000_000)
    images = images or fakes.refs(folder)
    plan = fakes.plan_table(images, 3)
    write_plan(open_store(run.root), Plan(run, plan, listed=len(images), unchanged=0, deleted=0))
    tools = replace(fakes.tools(), predictor=SeedPredictor(seed))
    return publish(open_store(run.root), run, [label_shard(job, tools) for job in fakes.jobs(run, images, 3)])


def plan(root, run_id, seed, hour, shard_size=2, prior="training"):
    """A relabelling made known: its configuration and its jobs."""
    store, answering = open_store(str(root)), Answering(SeedPredictor(seed).digest, prior)
    found = survey(store, answering)
    wanted = RelabelOptions(run_id, "fake", f"seed {seed}", answering, shard_size=shard_size)
    config = relabel_config(store, found, wanted, datetime.fromtimestamp(fakes.STARTED_US / 1e6 + hour * 3600, UTC))
    planned = found.plan(shard_size)
    count = found.images.num_rows
    write_plan(store, Plan(config, planned, listed=count + found.unchanged, unchanged=found.unchanged, deleted=0))
    return config, list(jobs(config, planned, sorted(set(planned["shard"].to_pylist()))))


def relabel(root, run_id, seed, hour, shard_size=2, prior="training"):
    """A whole relabelling."""
    config, todo = plan(root, run_id, seed, hour, shard_size, prior)
    return publish(open_store(str(root)), config, [relabel_shard(job, SeedPredictor(seed)) for job in todo])
