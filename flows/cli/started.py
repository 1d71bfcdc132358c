"""When this process started, as near as Python code can tell. Imported first by the command."""

import time
from typing import Final

STARTED_AT: Final = time.time()
"""Seconds since the epoch."""
