"""Photographs that lie on their side or head, labelled through the turn; runs of earlier releases leave them as they were."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from fer_core.align.face_extractor import CpuFaceExtractor, FaceExtractor
from fer_core.align.turning_extractor import TurningExtractor
from fer_core.decode import decoder
from fer_core.detect.base import box_iou
from fer_core.detect.builtin.detector import BuiltinDetector
from fer_core.detect.quarter_turn import turned_faces
from fer_core.gpu.face_extractor import GpuFaceExtractor
from fer_core.pipeline.label_images import LabelledImages, process_images
from fer_core.pipeline.worker_models import WorkerModels
from fer_core.run.configuration import LUMA, TURNED
from fer_core.storage.store import read_uri
from fer_core.timing import Stopwatch
from fer_core.types import Picture
from tests.support import fakes
from tests.unit.fer_core.pipeline.test_smallest_face import Predictor

TRANSPOSED = {1: Image.Transpose.ROTATE_90, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_270}
SIZES = {"small": (512, 512), "large": (4000, 3000)}


def photograph(size: str) -> Image.Image:
    """The astronaut, or twelve megapixels with her as a face of 290 px, whose crop needs a second decode."""
    face = Image.fromarray(data.astronaut())
    if size == "small":
        return face
    canvas = Image.new("RGB", SIZES[size], (90, 120, 150))
    canvas.paste(face.resize((1600, 1600), Image.Resampling.LANCZOS), (300, 300))
    return canvas


def labelled(folder: Path, turned: str | None, together: FaceExtractor | None = None) -> tuple[LabelledImages, list[NDArray[np.uint8]]]:
    predictor = Predictor()
    tools = WorkerModels(BuiltinDetector(), predictor, together)
    config = replace(fakes.config("/labels"), min_face="1%", turned=turned, second_decode=LUMA)
    seen = process_images(fakes.refs(folder), config, tools, Stopwatch(), on_progress=lambda _: None, read=read_uri)
    return seen, predictor.crops


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("turns", TRANSPOSED)
def test_it_has_the_labels_of_the_upright_photograph(tmp_path, monkeypatch, size, turns):
    decoded, original = list[tuple[int, ...]](), decoder.decode

    def noting(*arguments: object, **options: object) -> Picture:
        picture: Picture = original(*arguments, **options)  # type: ignore[arg-type]  # whatever they are
        decoded.append(picture.pixels.shape[:2])
        return picture

    monkeypatch.setattr(decoder, "decode", noting)
    upright = photograph(size)
    for folder, picture in (("upright", upright), ("turned", upright.transpose(TRANSPOSED[turns]))):
        (tmp_path / folder).mkdir()
        picture.save(tmp_path / folder / "photo.jpg", quality=95)
    reference, crops = labelled(tmp_path / "upright", TURNED)
    found, turned_crops = labelled(tmp_path / "turned", TURNED)
    assert len(decoded) == (4 if size == "large" else 2)
    (one,), (other,) = reference.facts, found.facts
    assert other.status == one.status == "labeled"
    assert other.faces is not None
    assert one.faces is not None
    assert other.quality is not None
    assert one.quality is not None
    assert (other.width, other.height) == upright.transpose(TRANSPOSED[turns]).size  # the photograph as it lies
    shape = SIZES[size][::-1]
    expected = turned_faces(one.faces, turns, shape)
    assert box_iou(other.faces.boxes, expected.boxes)[0, 0] > 0.95
    eye_distance = np.linalg.norm(one.faces.points[0, 1] - one.faces.points[0, 0])
    assert np.abs(other.faces.points - expected.points).max() < 0.05 * eye_distance
    roll = (other.quality.roll_deg[0] - one.quality.roll_deg[0] + 90 * turns + 180) % 360 - 180
    assert abs(roll) < 3
    assert abs(other.quality.yaw_deg[0] - one.quality.yaw_deg[0]) < 3
    # JPEG and the fractions that its decoder divides by are not the same in both directions
    assert np.abs(turned_crops[0].astype(int) - crops[0]).mean() < 4


def test_runs_of_earlier_releases_do_not_turn_pictures(tmp_path):
    photograph("small").transpose(TRANSPOSED[1]).save(tmp_path / "side.png")
    photograph("small").transpose(TRANSPOSED[2]).save(tmp_path / "head.png")
    head, side = labelled(tmp_path, None)[0].facts
    rolls = [abs(float(one.quality.roll_deg[0])) for one in (head, side) if one.quality is not None]
    assert all(roll < 60 for roll in rolls)  # not found, or found upright with wrong points


def test_photographs_in_batches_are_turned_alike(tmp_path):
    """The extractor of the GPU, in tensors on a CPU."""
    upright = photograph("small").resize((320, 320))
    for turns, transposed in TRANSPOSED.items():
        upright.transpose(transposed).save(tmp_path / f"{turns}.png")
    upright.save(tmp_path / "0.png")
    batches = GpuFaceExtractor(device=torch.device("cpu"), dtype=torch.float32, piece_pixels=1, second_looks=8)
    reference, crops = labelled(tmp_path, TURNED)
    found, batched = labelled(tmp_path, TURNED, batches)
    for turns, (one, other) in enumerate(zip(reference.facts, found.facts, strict=True)):
        assert one.faces is not None
        assert other.faces is not None
        assert np.abs(one.faces.boxes - other.faces.boxes).max() < 0.5
        assert np.abs(one.faces.points - other.faces.points).max() < 0.5
        assert np.abs(batched[turns].astype(int) - crops[turns]).mean() < 2
        assert other.quality is not None
        assert abs((other.quality.roll_deg[0] + 90 * turns + 180) % 360 - 180) < 20


def test_the_extractor_of_a_run():
    tools = WorkerModels(fakes.FakeDetector(), fakes.FakePredictor())
    assert isinstance(tools.extractor(), CpuFaceExtractor)
    assert isinstance(tools.extractor(any_way_up=True), TurningExtractor)
