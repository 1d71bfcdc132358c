"""A stand-in for labelling whose pictures say by their names what they do to a worker, and who runs jobs over them.

Each finished job leaves its rows in a file of the run's root, so that tests see what was done, by whom and how often.
"""

import json
import os
import signal
import threading
from pathlib import Path

from fer_core.run.configuration import RunConfig
from fer_core.run.part_name import PartName
from fer_core.run.receipts import ShardReceipt
from fer_core.run.shard_job import ImageRef, ShardJob
from tasks.execution.image_timeout import heartbeat

DEADLY, HUNGRY, HANGING = "deadly", "hungry", "hanging"
"""Kills its worker as a decoder that aborts does; takes memory until its worker is killed; never ends."""
KILLED_ONCE, FROZEN_ONCE = "killed-once", "frozen-once"
"""Kills, or stops, the first worker that looks at it."""
FILLED = 40
"""Pieces of 32 MiB that the hungry one takes: more than any worker of the tests may use."""
GATE = "gate"
"""Waits for the file `open` in the root, then kills its worker."""


def jobs(root: Path, *shards: list[str]) -> list[ShardJob]:
    """One job for each list of names."""
    config = RunConfig("run-a", "2026-01-01", "photos", str(root), "builtin", "builtin-1", "tiny", "tiny", "0" * 64)
    refs = [tuple(ImageRef(f"/{number:02d}/{name}", 1, None, 0) for name in names) for number, names in enumerate(shards)]
    return [ShardJob(config, PartName(number), images) for number, images in enumerate(refs)]


def look(text: str) -> str:
    """What workers run."""
    job = ShardJob.from_json(json.loads(text))
    root = Path(job.config.root)
    for image in job.images if not job.crashed else ():
        heartbeat(image.uri)
        name = image.uri.rpartition("/")[2]
        with (root / "looks").open("a") as file:
            file.write(f"{os.getpid()} {image.uri}\n")
        _suffer(name.partition(".")[0], image.uri, root)
    heartbeat(None)
    status = "crashed" if job.crashed else "labeled"
    rows = {image.uri: f"{status}: {job.reason}" if job.crashed else status for image in job.images}
    (root / f"{job.part}.json").write_text(json.dumps(rows))
    return json.dumps({"receipt": ShardReceipt(job.part, (), {status: len(job.images)}, {}, 0, {}).to_json()})


def _suffer(kind: str, uri: str, root: Path) -> None:
    if kind == DEADLY or (kind == KILLED_ONCE and _first(root / kind)):
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == HUNGRY:
        eaten = []
        while True:
            if len(eaten) < FILLED:
                eaten.append(b"x" * 2**25)
            threading.Event().wait(0.01)  # the nanny looks ten times a second
            heartbeat(uri)  # where it looks late, it shall find a hungry one, neither one that takes long nor a machine out of memory
    elif kind == HANGING:
        threading.Event().wait()
    elif kind == FROZEN_ONCE and _first(root / kind):
        os.kill(os.getpid(), signal.SIGSTOP)
    elif kind == GATE:
        while not (root / "open").exists():
            threading.Event().wait(0.02)
        os.kill(os.getpid(), signal.SIGKILL)


def _first(mark: Path) -> bool:
    """Whether it is called for the first time."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def rows(root: Path, receipts: list[ShardReceipt]) -> dict[str, str]:
    """What the parts of these receipts say of each image, which must be in one of them only."""
    found = [item for receipt in receipts for item in json.loads((root / f"{receipt.part}.json").read_text()).items()]
    assert len(found) == len(dict(found))
    return dict(found)


def looks(root: Path) -> list[str]:
    """The images that workers turned to, in order, as often as they did."""
    return [line.split()[1] for line in (root / "looks").read_text().splitlines()]
