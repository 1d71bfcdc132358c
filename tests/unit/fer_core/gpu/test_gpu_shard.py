"""A shard labelled by the GPU's path, on the CPU, against the same shard labelled by the reference."""

from io import BytesIO

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from skimage import data

from fer_core.detect.builtin.detector import BuiltinDetector
from fer_core.gpu.face_extractor import GpuFaceExtractor
from fer_core.gpu.predictor import GpuPredictor
from fer_core.models.store import resolve_model
from fer_core.pipeline.shard import label_shard
from fer_core.pipeline.worker_models import WorkerModels
from fer_core.predict.predictor import Predictor
from fer_core.run.part_name import PartName
from fer_core.run.shard_job import ShardJob
from fer_core.storage.paths import staged_file
from fer_core.storage.store import open_store
from tests.support import fakes

torch.set_num_threads(1)
CPU = torch.device("cpu")


def rows(run, images, tools):
    """The labels of a shard."""
    receipt = label_shard(ShardJob(run, PartName(0), images), tools)
    part = next(part for part in receipt.parts if part.table == "labels")
    return pq.read_table(pa.BufferReader(open_store(run.root).read_bytes(staged_file(run.run_id, part)))).to_pylist()


def encoded(pixels):
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def test_labels_are_the_references(tmp_path):
    astronaut = data.astronaut()
    folder = tmp_path / "photos"
    folder.mkdir()
    shown = [astronaut, astronaut[:, ::-1], cv2.resize(astronaut, (300, 200)), np.full((90, 200, 3), 80, np.uint8)]
    for number, pixels in enumerate(shown):
        (folder / f"{number}.jpg").write_bytes(encoded(np.ascontiguousarray(pixels)))
    (folder / "4.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    detector, images = BuiltinDetector(quantized=False), tuple(fakes.refs(folder))
    reference = WorkerModels(detector, Predictor(resolve_model("tiny"), "cpu", quantized=False))
    extractor = GpuFaceExtractor(device=CPU, dtype=torch.float16, piece_pixels=1, second_looks=8)
    gpu = WorkerModels(detector, GpuPredictor("tiny", CPU, torch.float16, 16), extractor)
    wanted, found = (rows(fakes.config(tmp_path / name), images, tools) for name, tools in (("reference", reference), ("gpu", gpu)))
    assert len(wanted) >= 3
    assert [(row["image_uri"], row["face_index"], row["expression"]) for row in found] == [
        (row["image_uri"], row["face_index"], row["expression"]) for row in wanted
    ]
    assert max(abs(ours["confidence"] - theirs["confidence"]) for ours, theirs in zip(found, wanted, strict=True)) < 0.01
    assert max(abs(ours["yaw_deg"] - theirs["yaw_deg"]) for ours, theirs in zip(found, wanted, strict=True)) < 0.5
