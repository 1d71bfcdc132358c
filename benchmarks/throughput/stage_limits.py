"""Each stage of the pipeline beside what this machine allows: decoding, the network, the detector, writing.

    python -m benchmarks.throughput.stage_limits --to FIGURES [--photos FOLDER] [--images 400]

- decode: half-megapixel pictures through `fer_core.decode.decoder` (checks, digest, orientation) against libjpeg-turbo alone, all cores.
- network: `tiny` as the predictor runs it, batches of 64 and mirror images included, one thread; and the detector on pictures in memory.
  Their multiply-adds, twice, against the rate of a large float32 matrix product in the same thread (`torch.mm`, the best of several). A
  picture's multiply-adds are those of one look at 640 pixels; second looks at small faces come on top, and count as time lost.
- write: three tables of a run with kept crops, as `write_part` makes them, against `pyarrow.parquet.write_table` of the same columns; and
  what encoding the crops as PNG takes.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common.pictures import composed, demo_faces, mosaic, repeated, varied
from benchmarks.common.processor import matrix_gflops
from benchmarks.common.record import machine, write_record
from benchmarks.throughput import alone
from benchmarks.throughput.all_cores import rate
from fer_core.align.aligner import align
from fer_core.detect.builtin.weights import SHIPPED, load_detector
from fer_core.detect.registry import build
from fer_core.labels import EXPRESSIONS
from fer_core.models.network import NetworkConfig, multiply_adds
from fer_core.predict.predictor import load_predictor
from fer_core.tables.parquet_writer import write_part
from fer_core.tables.schema import FACES, IMAGES, LABELS

BATCH = 64
ROUNDS = 7
MATRIX = 2048
RUN = "night"
LOOK = (480, 640)
"""What the detector looks at of a half-megapixel picture of 4 to 3: height and width."""


def main() -> None:
    """Measure and write stage_limits.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="photographs (default: composed pictures)")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--to", type=Path, required=True, metavar="FIGURES", help="folder for the JSON file")
    args = parser.parse_args()
    about, threads = machine(), (cv2.getNumThreads(), torch.get_num_threads())
    with tempfile.TemporaryDirectory() as place:
        to = Path(place) / "pictures"
        pictures = repeated(args.photos, to, args.images) if args.photos else varied(to, args.images)
        figures: dict[str, Any] = {"source": "photographs" if args.photos else "generated", "images": args.images}
        figures["decode"] = decoding(pictures)
        one_thread()
        figures["network"], figures["detector"] = network(), detector()
        figures["write"] = writing(Path(place), max(2, args.images // 8))
    cv2.setNumThreads(threads[0])
    torch.set_num_threads(threads[1])
    write_record(args.to, "stage_limits", figures, about)


def one_thread() -> None:
    """As a worker has it."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def decoding(pictures: Path) -> dict[str, Any]:
    """Images a second of all cores, in turns; the pictures are in the page cache for both."""
    files = [str(file) for file in sorted(pictures.iterdir())]
    turns = [(rate(alone.decoding, files), rate(alone.libjpeg, files)) for _ in range(3)]
    ours, bare = (statistics.median(rates) for rates in zip(*turns, strict=True))
    return _against(ours, bare, alone.bare())


def _against(ours: float, limit: float, by: str) -> dict[str, Any]:
    return {"per_second": ours, "limit_per_second": limit, "share": ours / limit, "limit": by}


def best(work: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """Seconds of the fastest of several calls after a first that does not count: others' work can only slow a machine down."""
    work()
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def network(faces: int = BATCH, matrix: int = MATRIX) -> dict[str, Any]:
    """Faces a second of the predictor, and which share of the matrix rate that is."""
    predictor = load_predictor("tiny", "cpu")
    crops = np.random.default_rng(0).integers(0, 256, (faces, 112, 112, 3), np.uint8)
    config: NetworkConfig = predictor.spec.network
    operations = 2 * multiply_adds(config) * (2 if predictor.spec.flip else 1)
    flops = 1e9 * matrix_gflops(matrix)
    return _of_matrix(faces / best(lambda: predictor.predict(crops)), operations, flops)


def detector(pictures: int = 8, matrix: int = MATRIX) -> dict[str, Any]:
    """Images a second of the detector on pictures in memory: none, one, two ... faces in them."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        load_detector(SHIPPED)(torch.zeros(1, 3, *LOOK))
    faces, finder = demo_faces(), build("builtin")
    made = [mosaic(faces, count % 4, 0.5, seed=count) for count in range(pictures)]
    flops = 1e9 * matrix_gflops(matrix)
    seconds = best(lambda: [finder.detect(picture) for picture in made], rounds=5)
    return _of_matrix(len(made) / seconds, float(counter.get_total_flops()), flops)


def _of_matrix(speed: float, operations: float, flops: float) -> dict[str, Any]:
    limit = flops / operations
    return {**_against(speed, limit, "torch.mm, float32, one thread"), "gigaflop": operations / 1e9, "matrix_gigaflops": flops / 1e9}


def writing(place: Path, images: int, faces: int = 12) -> dict[str, Any]:
    """Faces a second through the three tables of a shard, one thread, crops as PNG included."""
    crops, tables = _tables(composed(place / "write", images, faces))
    encoded = best(lambda: [cv2.imencode(".png", crop[..., ::-1]) for crop in crops], rounds=3)
    ours = best(lambda: [write_part(table, {"fer.run": RUN}) for table in tables])
    plain = best(lambda: [pq.write_table(table, BytesIO(), compression="zstd") for table in tables])
    default = best(lambda: [pq.write_table(table, BytesIO()) for table in tables])
    count = len(crops)
    said = _against(count / ours, count / plain, "pyarrow.parquet.write_table, zstd")
    return {**said, "faces": count, "default_per_second": count / default, "png_per_second": count / encoded}


def _tables(pictures: Path) -> tuple[list[np.ndarray], list[pa.Table]]:
    """Crops of the pictures' faces, and tables with the columns of a run's three: real crops, made-up numbers of the right kinds."""
    finder, crops, names = build("builtin"), list[np.ndarray](), list[str]()
    for file in sorted(pictures.iterdir()):
        pixels = np.asarray(Image.open(file).convert("RGB"))
        found = align(pixels, finder.detect(pixels))
        crops.extend(found)
        names.extend([str(file)] * len(found))
    png = [cv2.imencode(".png", crop[..., ::-1])[1].tobytes() for crop in crops]
    drawn = np.random.default_rng(0)
    return crops, [_made(schema, names, png, drawn) for schema in (LABELS, IMAGES, FACES)]


def _made(schema: pa.Schema, names: list[str], png: list[bytes], drawn: np.random.Generator) -> pa.Table:
    count = len(names)
    columns = {"image_uri": names, "crop_png": png, "run_id": [RUN] * count}
    columns["expression"] = [EXPRESSIONS[index] for index in drawn.integers(len(EXPRESSIONS), size=count)]

    def column(field: pa.Field) -> pa.Array:
        if field.name in columns:
            return pa.array(columns[field.name], field.type)
        if pa.types.is_floating(field.type) or pa.types.is_integer(field.type):
            return pa.array(drawn.integers(0, 1000, count), pa.int64()).cast(field.type)
        if pa.types.is_string(field.type):
            return pa.array([drawn.bytes(16).hex() for _ in range(count)], field.type)
        return pa.nulls(count, field.type)

    return pa.table([column(field) for field in schema], schema=schema)


if __name__ == "__main__":
    main()
