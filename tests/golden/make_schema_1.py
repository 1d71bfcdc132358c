"""Wrote `schema-1/`: a labels root and the pictures it was made of, as ferflow 0.1 wrote them under schema version 1.

python -m tests.golden.make_schema_1 FOLDER

Kept as it was written: later versions must read, verify and extend it, so it is not made anew. A new schema version gets a script and a
folder of its own. Pictures lie in memory while they are labelled, so that their addresses hold on every machine.

First night: five listed images (one face, none, two faces, no image, gone), crops kept. Second night: a new image and one that changed.
Third night: begun, one of two shards staged, then stopped.
"""

import sys
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import fsspec
import numpy as np
from PIL import Image

from fer_core.commit.plan import Plan, write_plan
from fer_core.commit.publish import publish
from fer_core.pipeline.shard import label_shard
from fer_core.run.configuration import RunConfig
from fer_core.run.shard_job import ImageRef
from fer_core.storage.store import open_store
from tests.support import fakes

PHOTOS = "memory://golden-1/photos"
DAY_US = 86_400_000_000


def drawn(faces: int, seed: int) -> bytes:
    """PNG, 200 x 64, bands of grey under the script of `fakes`: a few hundred bytes."""
    bands = np.random.default_rng(seed).integers(0, 256, 8, np.uint8)
    pixels = np.repeat(np.repeat(bands[None, :, None], 64, 0), 25, 1).repeat(3, 2)
    pixels[0, 0] = faces, 0, 0
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def pictures() -> dict[str, bytes]:
    """What there is to label, by name; `b2.png` is what becomes of `b.png` on the second night."""
    drawings = {"a.png": drawn(1, 1), "b.png": drawn(0, 2), "c.png": drawn(2, 3), "b2.png": drawn(1, 4), "f.png": drawn(1, 5)}
    return {**drawings, "d.txt": b"holiday notes", "g.png": drawn(0, 6)}


def night(root: str, number: int, run_id: str) -> RunConfig:
    """The run of the `number`-th night, from 0."""
    moment = fakes.STARTED_US + number * DAY_US
    day = f"{datetime.fromtimestamp(moment / 1e6, UTC):%Y-%m-%d}"
    return replace(fakes.config(root, run_id, PHOTOS), run_date=day, started_us=moment, keep_crops=True, purpose="golden")


def listed(name: str, data: bytes | None, moment: int = fakes.STARTED_US) -> ImageRef:
    """What the listing said."""
    return ImageRef(f"{PHOTOS}/{name}", None if data is None else len(data), None, None if data is None else moment)


def label(run: RunConfig, images: list[ImageRef], counts: tuple[int, int, int]) -> None:
    """A whole run in one shard. counts: listed, unchanged, deleted."""
    store = open_store(run.root)
    write_plan(store, Plan(run, fakes.plan_table(images, 100), listed=counts[0], unchanged=counts[1], deleted=counts[2]))
    receipts = [label_shard(job, fakes.tools()) for job in fakes.jobs(run, images, 100)]
    publish(store, run, receipts, datetime.fromtimestamp(run.started_us / 1e6 + 60, UTC))


def main() -> None:
    """See the module's text."""
    folder, root, photos = Path(sys.argv[1]), "memory://golden-1/root", pictures()
    memory = fsspec.filesystem("memory")
    for name, data in photos.items():
        memory.pipe_file(f"/golden-1/photos/{name}", data)
    day = [listed("a.png", photos["a.png"]), listed("b.png", photos["b.png"]), listed("c.png", photos["c.png"])]
    label(night(root, 0, "first"), [*day, listed("d.txt", photos["d.txt"]), listed("e.png", None)], (5, 0, 0))
    memory.pipe_file("/golden-1/photos/b.png", photos["b2.png"])
    changed = listed("b.png", photos["b2.png"], fakes.STARTED_US + DAY_US)
    label(night(root, 1, "second"), [changed, listed("f.png", photos["f.png"], fakes.STARTED_US + DAY_US)], (5, 3, 1))
    third = night(root, 2, "third")
    images = [listed("e.png", None), listed("g.png", photos["g.png"], third.started_us)]
    write_plan(open_store(root), Plan(third, fakes.plan_table(images, 1), listed=7, unchanged=5, deleted=0))
    label_shard(fakes.jobs(third, images, 1)[1], fakes.tools())
    for path in memory.find("/golden-1/root"):
        file = folder / "root" / path.removeprefix("/golden-1/root/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(memory.cat_file(path))
    (folder / "photos").mkdir(exist_ok=True)
    for name, data in photos.items():
        (folder / "photos" / name).write_bytes(data)


if __name__ == "__main__":
    main()
