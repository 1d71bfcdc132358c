"""How much memory this process has had: as the system counts it, and without what files stand behind."""

import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def peak() -> int:
    """Bytes of memory that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def own_memory() -> Iterator[list[int]]:
    """Bytes of this process that no file stands behind, as they are found while the block runs; only zeros but on Linux."""
    found, ended = [_own()], threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            found[0] = max(found[0], _own())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def _own() -> int:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
