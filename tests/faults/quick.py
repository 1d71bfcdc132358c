"""Imported by workers, so that stand-ins look at the pictures and nothing large is loaded for it."""

import fer_core.pipeline.shard
import fer_core.pipeline.worker_models
from tests.support import fakes

fer_core.pipeline.shard.load_worker_models = lambda config: fakes.tools()
fer_core.pipeline.worker_models.prepare_process = lambda: None
