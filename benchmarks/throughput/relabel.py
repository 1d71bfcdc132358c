"""How much faster labels come from kept crops than from photographs.

    python -m benchmarks.throughput.relabel                               24 generated photographs, three rounds
    python -m benchmarks.throughput.relabel --images 200 --json figures.json

Both are the very function that a worker runs on a shard (`label_shard`, `relabel_shard`), in this process with one thread, models loaded
beforehand: photographs to staged labels, images and crops; crops to staged labels and images. Rounds alternate, so that a busy machine
slows both; the ratio is that of CPU seconds, of the medians of the rounds. The whole commands add the same start-up to both.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.throughput.whole_job import generated, machine
from fer_core.collection.inventory import list_images
from fer_core.commit.plan import Plan, write_plan
from fer_core.commit.publish import publish
from fer_core.models.store import load_model, resolve_model, save_model
from fer_core.pipeline.shard import label_shard
from fer_core.pipeline.shard_jobs import shard_images
from fer_core.pipeline.worker_models import load_worker_models
from fer_core.planning.sharding import plan_shards
from fer_core.relabel.configuration import RelabelOptions, relabel_config
from fer_core.relabel.shard import relabel_shard
from fer_core.relabel.survey import survey
from fer_core.run.configuration import Answering, RunConfig
from fer_core.run.part_name import PartName
from fer_core.run.shard_job import ShardJob
from fer_core.storage.store import open_store
from flows.label_params import LabelParams
from flows.setup.label import configure


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of one shard."""

    cpu: float
    wall: float


def spent(work: Callable[[], Any]) -> Spent:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Spent(time.process_time() - cpu, time.perf_counter() - wall)


def other_model(folder: Path) -> Path:
    """The default model with another temperature, which is another model and as fast."""
    network, spec = load_model(resolve_model("tiny"))
    return save_model(folder, network.state_dict(), replace(spec, temperature=1.5 * spec.temperature), {"name": "other"}).path


def labelled(place: Path, photos: Path, detector: str) -> tuple[RunConfig, ShardJob, pa.Table]:
    """A first night, made known: its configuration, its only shard and its plan."""
    params = LabelParams(source=str(photos), to=str(place / "labels"), run_id="night", keep_crops=True, detector=detector, device="cpu")
    config = configure(params)
    inventory = list_images(str(photos))
    plan = plan_shards(inventory, inventory.num_rows)
    write_plan(open_store(config.root), Plan(config, plan, listed=plan.num_rows, unchanged=0, deleted=0))
    return config, ShardJob(config, PartName(0), shard_images(plan, 0)), plan


def measure(images: int, rounds: int, detector: str) -> dict[str, Any]:
    """Rounds of both, alternating."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        config, job, plan = labelled(place, generated(place / "photos", images), detector)
        store = open_store(config.root)
        first = label_shard(job)
        publish(store, config, [first])
        ref = resolve_model(str(other_model(place / "other")))
        found = survey(store, Answering(ref.digest))
        again = relabel_config(store, found, RelabelOptions("again", str(ref.path), ref.name, Answering(ref.digest), device="cpu"))
        crops = ShardJob(again, PartName(0), shard_images(found.plan(plan.num_rows), 0))
        relabel_shard(crops)  # loads its model
        nights, relabellings = [], []
        for _ in range(rounds):
            load_worker_models(config)  # one set a thread is kept: loading is not measured
            nights.append(spent(lambda: label_shard(replace(job, images=tuple(replace(image, earlier_part=None) for image in job.images)))))
            relabellings.append(spent(lambda: relabel_shard(crops)))
        return {
            "images": images,
            "faces": first.faces,
            "detector": config.detector,
            "label": [asdict(one) for one in nights],
            "relabel": [asdict(one) for one in relabellings],
        }


def summary(figures: dict[str, Any]) -> dict[str, float]:
    """Medians and what follows from them."""
    cpu = {name: statistics.median(one["cpu"] for one in figures[name]) for name in ("label", "relabel")}
    wall = {name: statistics.median(one["wall"] for one in figures[name]) for name in ("label", "relabel")}
    return {
        "label_cpu_seconds": cpu["label"],
        "relabel_cpu_seconds": cpu["relabel"],
        "ratio_cpu": cpu["label"] / cpu["relabel"],
        "ratio_wall": wall["label"] / wall["relabel"],
        "faces_per_cpu_second": figures["faces"] / cpu["relabel"],
    }


def markdown(figures: dict[str, Any]) -> str:
    told, about = figures["summary"], figures["machine"]
    per_face = 1000 / figures["faces"]
    return "\n".join(
        [
            f"{figures['images']} photographs, {figures['faces']} faces, detector `{figures['detector']}`, {len(figures['label'])} rounds; "
            f"{about['processor']}, {about['cores']} cores ({about['busy_before_percent']:.0f} % busy before).",
            "",
            "| | CPU seconds | CPU ms a face | times faster |",
            "|---|---:|---:|---:|",
            f"| from photographs | {told['label_cpu_seconds']:.2f} | {told['label_cpu_seconds'] * per_face:.1f} | 1 |",
            f"| from kept crops | {told['relabel_cpu_seconds']:.2f} | {told['relabel_cpu_seconds'] * per_face:.1f} | "
            f"{told['ratio_cpu']:.1f} ({told['ratio_wall']:.1f} by the wall clock) |",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--detector", default="builtin")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args(arguments)
    about = machine()
    figures = measure(args.images, args.rounds, args.detector)
    figures |= {"machine": about, "summary": summary(figures)}
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(markdown(figures))


if __name__ == "__main__":
    main()
