"""Where a run is killed: the calls of the store at which each step of a night begins or ends.

Nothing in the product knows of this: `arm` wraps methods of `Store` in the process that is to die, and at the call in question that process
sends the signal that no process can catch. Paths are relative to the labels root; of a move, where it goes.
"""

import json
import os
import re
import signal
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Final

CHANGES: Final = ("write_bytes", "move", "remove_tree", "remove_file")
REPLACING: Final = "replacing"
"""Methods of `Store` that change what is there, the last one when its block ends."""
REMOVAL: Final = "removal"
"""Stands for each file that `remove_tree` deletes."""
RENAMING: Final = "renaming"
"""Stands for the last act of `write_bytes` on a local disk: the content is written under a passing name, the file is not there yet."""

KINDS: Final = ("command", "group", "machine")
"""Who is killed: the command alone; all of its process group, workers too; every process of the command in the same moment."""


@dataclass(frozen=True)
class Step:
    """The `number`-th call of some methods with a path like `path`; the process dies before it or after it."""

    methods: tuple[str, ...]
    path: str
    number: int
    after: bool = False
    in_worker: bool = False
    """Whether it is a worker that comes to this call. Who dies is the command all the same, and the worker if it is of the kind."""

    def told(self) -> str:
        """As text; `Step.read` reads it back."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> "Step":
        value = json.loads(text)
        return cls(**{**value, "methods": tuple(value["methods"])})


_MANIFEST = r"_meta/runs/[^/]+/manifest\.json"
_PLAN = r"_meta/runs/[^/]+/plan\.parquet"
_TABLES = r"(faces|labels|images)/"
_MERGED = r"_staging/[^/]+/(labels|images)/part-\d{5}-[0-9a-f]{8}\."
_COALESCED = r"_staging/[^/]+/coalesced/"

NIGHT: Final = {
    "before the plan": Step((REPLACING,), _PLAN, 1),
    "after the plan": Step((REPLACING,), _PLAN, 1, after=True),
    "in a shard": Step(("write_bytes",), r"_staging/[^/]+/labels/", 2, after=True, in_worker=True),
    "before a receipt": Step(("write_bytes",), r"_staging/[^/]+/receipts/", 2, in_worker=True),
    "after staging": Step(("move",), _TABLES, 1),
    "in the coalescing": Step(("write_bytes",), _MERGED, 2, after=True),
    "before a coalesced receipt": Step(("write_bytes",), _COALESCED, 1),
    "after coalescing": Step(("write_bytes",), _COALESCED, 2, after=True),
    "between parts": Step(("move",), _TABLES, 1, after=True),
    "between tables": Step(("move",), r"images/", 1),
    "before the manifest": Step(("write_bytes",), _MANIFEST, 1),
    "in the manifest's writing": Step((RENAMING,), _MANIFEST, 1),
    "after the manifest": Step(("write_bytes",), _MANIFEST, 1, after=True),
    "in the removal of staging": Step((REMOVAL,), r"_staging/night", 2),
    "in the collection of abandoned staging": Step((REMOVAL,), r"_staging/abandoned", 2),
    "before the lease is given back": Step(("remove_file",), r"_meta/leases/", 1),
}
"""The steps of a night, in their order."""


def at_change(number: int, after: bool, in_worker: bool = False) -> Step:
    """The n-th change of the root, whatever it is."""
    return Step((*CHANGES, REPLACING, REMOVAL), "", number, after, in_worker)


def kill(kind: str, pid: int) -> None:
    """End the command `pid` as `kind` says. Does not return where that takes this process along."""
    if kind == "machine":
        others = of_the_command(pid)
        ends_too = os.getpid() in others
        for other in others:
            if other != os.getpid():
                os.kill(other, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        if ends_too:
            os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "group":
        os.killpg(os.getpgid(pid), signal.SIGKILL)
    else:
        os.kill(pid, signal.SIGKILL)


def of_the_command(pid: int) -> list[int]:
    """Every process that carries the command's mark in its environment, but for the command."""
    import psutil

    tag, found = psutil.Process(pid).environ().get("FERFLOW_TEST"), []
    if tag is None:  # forked from a process that has no mark, as are others; it has started none
        return []
    for process in psutil.process_iter():
        try:
            if process.pid != pid and process.environ().get("FERFLOW_TEST") == tag:
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def arm(step: Step, kind: str, command: int) -> None:
    """From now on this process kills the command, or itself where it is the command, when it comes to the step."""
    from fer_core.storage.store import Store

    left = step.number

    def come_to(method: str, path: str, after: bool) -> None:
        nonlocal left
        if after == step.after and method in step.methods and re.match(step.path, path):
            left -= 1
            if not left:
                kill(kind, command)

    for name in CHANGES:
        setattr(Store, name, _watched(getattr(Store, name), come_to))
    Store.replacing = _watched_replacing(Store.replacing, come_to)
    _watch_removals(come_to)
    os.replace = _watched_renaming(os.replace, come_to)


def _watched(method, come_to):
    @wraps(method)
    def watched(self, *arguments):
        path = arguments[1] if method.__name__ == "move" else arguments[0]
        come_to(method.__name__, path, False)
        method(self, *arguments)
        come_to(method.__name__, path, True)

    return watched


def _watched_replacing(replacing, come_to):
    @contextmanager
    def watched(self, path):
        come_to(REPLACING, path, False)
        with replacing(self, path) as unfinished:
            yield unfinished
        come_to(REPLACING, path, True)

    return watched


def _watched_renaming(replace, come_to):
    def renaming(source, target):
        found = re.search(_MANIFEST, os.fspath(target))
        if found:
            come_to(RENAMING, found[0], False)
        replace(source, target)

    return renaming


def _watch_removals(come_to) -> None:
    """Each file that a tree's removal deletes: by `os.unlink` on a local disk, object by object elsewhere."""
    from fer_core.storage.store import Store

    remove_tree, remove_object, unlink = Store.remove_tree, Store._remove_object, os.unlink

    def removed_tree(self, folder):
        def unlinked(path, *, dir_fd=None):
            come_to(REMOVAL, folder, False)
            unlink(path, dir_fd=dir_fd)

        def removed_object(self, full):
            come_to(REMOVAL, folder, False)
            remove_object(self, full)

        os.unlink, Store._remove_object = unlinked, removed_object
        try:
            remove_tree(self, folder)
        finally:
            os.unlink, Store._remove_object = unlink, remove_object

    Store.remove_tree = removed_tree
