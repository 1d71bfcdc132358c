"""Imported by workers, so that stand-ins look at the pictures and nothing large is loaded for it."""

import fer_core.shard
import fer_core.tools
from tests import fakes

fer_core.shard.tools_for = lambda config: fakes.tools()
fer_core.tools.prepare_process = lambda: None
