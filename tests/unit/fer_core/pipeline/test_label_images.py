"""Pictures looked at some at a time: whatever happens to one of them happens to it alone."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from fer_core.align.aligner import align
from fer_core.align.face_extractor import CpuFaceExtractor, ExtractedFaces
from fer_core.decode.min_face import Look
from fer_core.detect.builtin.detector import BuiltinDetector
from fer_core.errors import DetectorError
from fer_core.pipeline import label_images
from fer_core.pipeline.label_images import LabelledImages, process_images
from fer_core.pipeline.worker_models import WorkerModels
from fer_core.predict.batching import FACES_A_BATCH, FaceBatch
from fer_core.run.configuration import RunConfig
from fer_core.run.shard_job import ImageRef
from fer_core.storage.store import read_uri
from fer_core.timing import Stopwatch
from fer_core.types import Faces
from tests.support import fakes


class Together:
    """Looks at three at a time, at all or at none."""

    pictures = 3
    side: int | None = None

    def __init__(self) -> None:
        self.asked: list[int] = []

    def extract(self, pictures: Sequence[NDArray[np.uint8]], looks: Sequence[Look], watch: Stopwatch) -> list[ExtractedFaces]:
        self.asked.append(len(pictures))
        return CpuFaceExtractor(fakes.FakeDetector()).extract(pictures, looks, watch)


def run_over(
    folder: Path,
    tools: WorkerModels,
    seen: list[str | None] | None = None,
    config: RunConfig | None = None,
    pixels: int | None = None,
) -> LabelledImages:
    note, images = (lambda _: None) if seen is None else seen.append, fakes.refs(folder)
    return process_images(images, config or fakes.config("/labels"), tools, Stopwatch(), on_progress=note, read=read_uri, pixels=pixels)


def told(found: LabelledImages) -> list[tuple[str, int]]:
    return [(row.status, row.n_faces) for row in found.facts]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = fakes.write_pictures(tmp_path / "photos", [1, 0, 3, 2, 1, 0, 2, 4])
    (folder / "image-001.png").write_bytes(b"nonsense")
    (folder / "image-004.png").write_bytes(fakes.picture(1, fakes.BROKEN))
    (folder / "image-006.png").write_bytes(fakes.picture(2, fakes.HUGE))
    return folder


def test_some_at_a_time_is_one_by_one(folder: Path) -> None:
    extractor = Together()
    alone = run_over(folder, fakes.tools())
    together = run_over(folder, WorkerModels(fakes.FakeDetector(), fakes.FakePredictor(), extractor))
    assert told(alone) == [
        ("labeled", 1),
        ("unsupported", 0),
        ("labeled", 3),
        ("labeled", 2),
        ("unreadable", 0),
        ("no_face", 0),
        ("too_large", 0),
        ("labeled", 4),
    ]
    for one, other in zip(alone.facts, together.facts, strict=True):
        for name in ("ref", "status", "reason", "sha256", "width", "height", "n_faces"):
            assert getattr(one, name) == getattr(other, name)
        if one.n_faces:
            assert one.faces is not None
            assert other.faces is not None
            assert np.array_equal(one.faces.points, other.faces.points)
            assert one.quality is not None
            assert other.quality is not None
            assert np.array_equal(one.quality.sharpness, other.quality.sharpness)
    assert np.array_equal(alone.answers.predictions.probabilities, together.answers.predictions.probabilities)
    assert extractor.asked == [2, 3, 1, 1, 1, 2, 1, 1]  # of a group in which one fails each is extracted by itself


def test_it_is_told_where_it_is(folder: Path) -> None:
    """A picture that is looked at again alone is turned to again: the time limit is on a picture, not on its group."""
    seen: list[str | None] = []
    run_over(folder, WorkerModels(fakes.FakeDetector(), fakes.FakePredictor(), Together()), seen)
    names = [uri if uri is None else int(uri[-7:-4]) for uri in seen]
    assert names == [0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 6, 7, None]


@pytest.mark.parametrize("decoders", ["0", "1", "4"])
@pytest.mark.parametrize("room", [1, 2.5, 100])
def test_a_group_is_no_larger_than_its_pixels_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: float, decoders: str) -> None:
    """Pictures are 200 x 64. The group does not wait for pixels that it holds itself."""
    monkeypatch.setenv("FERFLOW_DECODERS", decoders)
    folder = fakes.write_pictures(tmp_path / "photos", [1] * 20)
    extractor = Together()
    tools = WorkerModels(fakes.FakeDetector(), fakes.FakePredictor(), extractor)
    found = run_over(folder, tools, pixels=round(room * 200 * 64))
    assert told(found) == [("labeled", 1)] * 20
    assert sum(extractor.asked) == 20
    assert max(extractor.asked) <= min(3, max(1, round(room + 0.5)))


def test_broken_tools_are_no_fault_of_a_group(folder: Path) -> None:
    (folder / "image-003.png").write_bytes(fakes.picture(1, fakes.BROKEN_DETECTOR))
    with pytest.raises(DetectorError, match="the detector is broken"):
        run_over(folder, WorkerModels(fakes.FakeDetector(), fakes.FakePredictor(), Together()))


def test_faces_are_judged_and_packed_a_batch_at_a_time() -> None:
    """As many as make two and a half batches, alike in every way to those judged alone."""
    count = 2 * FACES_A_BATCH + FACES_A_BATCH // 2
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (count, 112, 112, 3), np.uint8)
    points = rng.uniform(0, 100, (count, 5, 2)).astype(np.float32)
    sides = rng.uniform(20, 80, (count, 2)).astype(np.float32)
    faces = Faces(np.concatenate([np.zeros((count, 2), np.float32), sides], 1), points, np.ones(count, np.float32))
    with FaceBatch(fakes.FakePredictor(), Stopwatch(), keep_crops=True) as batch:
        for start in range(0, count, 50):
            index = np.arange(start, min(start + 50, count))
            batch.add(ExtractedFaces(faces.take(index), crops[index]))
        answers = batch.results()
    assert len(answers.predictions) == len(answers.crops_png) == count
    for index in (0, 1, FACES_A_BATCH - 1, FACES_A_BATCH, count - 1):
        with FaceBatch(fakes.FakePredictor(), Stopwatch(), keep_crops=True) as batch:
            batch.add(ExtractedFaces(faces.take(np.array([index])), crops[[index]]))
            alone = batch.results()
        assert alone.predictions.expression[0] == answers.predictions.expression[index]
        assert alone.crops_png[0] == answers.crops_png[index]
        for name in ("face_size_px", "sharpness", "exposure", "yaw_deg", "pitch_deg", "roll_deg"):
            assert getattr(alone.quality, name)[0] == getattr(answers.quality, name)[index]


class TestLargePhotographs:
    """A JPEG twice as long as the detector looks at comes shrunk; a fine grid of faces shows where that would matter."""

    @pytest.fixture
    def large(self, tmp_path: Path) -> Path:
        """One face of 130 px and one of 900 px, in 2400 x 1800, for a detector that looks at 600."""
        face = Image.fromarray(data.astronaut()[0:256, 96:352])
        canvas = Image.new("RGB", (2400, 1800), (90, 120, 150))
        canvas.paste(face.resize((1700, 1700), Image.Resampling.LANCZOS), (60, 60))
        canvas.paste(face.resize((320, 320), Image.Resampling.LANCZOS), (1900, 900))
        folder = tmp_path / "large"
        folder.mkdir()
        canvas.save(folder / "photo.jpg", quality=92)
        return folder

    def look(self, folder: Path, side: int | None) -> tuple[LabelledImages, list[NDArray[np.uint8]]]:
        kept: list[NDArray[np.uint8]] = []

        class Predictor(fakes.FakePredictor):
            def predict(self, crops: NDArray[np.uint8], /) -> object:  # type: ignore[override]  # passes on what it got
                kept.extend(crops)
                return super().predict(crops)

        detector = BuiltinDetector(largest_side=600)
        tools = WorkerModels(detector, Predictor(), CpuFaceExtractor(detector, side))  # type: ignore[arg-type]  # see above
        return run_over(folder, tools), kept

    def test_shrunk_or_not_the_answers_agree(self, large: Path) -> None:
        (full, full_crops), (quick, quick_crops) = self.look(large, None), self.look(large, 600)
        (one,), (other,) = full.facts, quick.facts
        assert (one.width, one.height) == (other.width, other.height) == (2400, 1800)
        assert one.faces is not None
        assert other.faces is not None
        assert len(one.faces) == len(other.faces) == 2
        for index in range(2):
            size = np.ptp(one.faces.boxes[index].reshape(2, 2), axis=0).mean()
            assert np.abs(one.faces.boxes[index] - other.faces.boxes[index]).max() < 0.05 * size
        # both crops have all the detail that the photograph has: neither comes from a handful of pixels
        for number, (fine, quickly) in enumerate(zip(full_crops, quick_crops, strict=True)):
            assert one.quality is not None
            assert other.quality is not None
            assert other.quality.sharpness[number] > 0.9 * one.quality.sharpness[number] - 0.02
            assert np.abs(fine.astype(int) - quickly).mean() < 12  # a few pixels' shift between the two looks

    def test_the_photograph_is_decoded_in_full_only_for_small_faces(self, large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        again, original = [0], label_images._decoded_again

        def counted(config: RunConfig, content: bytes, reduction: int, *, luma: bool) -> object:
            again[0] += 1
            return original(config, content, reduction, luma=luma)

        monkeypatch.setattr(label_images, "_decoded_again", counted)
        self.look(large, 600)
        assert again == [1]  # once, for the small one
        canvas = Image.open(large / "photo.jpg")
        canvas.crop((0, 0, 1800, 1800)).save(large / "photo.jpg", quality=92)
        self.look(large, 600)
        assert again == [1]  # the large one alone needs it no more
        Image.new("RGB", (2400, 1800), (90, 120, 150)).save(large / "photo.jpg")
        self.look(large, 600)
        assert again == [1]  # nor does a picture without a face

    def test_faces_too_small_in_the_photograph_do_not_count(self, large: Path) -> None:
        from dataclasses import replace

        detector = BuiltinDetector(largest_side=600)
        tools = WorkerModels(detector, fakes.FakePredictor(), CpuFaceExtractor(detector, 600))
        config = replace(fakes.config("/labels"), min_face_px=300.0)
        (row,) = run_over(large, tools, config=config).facts
        assert row.n_faces == 1
        assert row.faces is not None
        assert align(np.asarray(Image.open(large / "photo.jpg")), row.faces).shape == (1, 112, 112, 3)


def test_a_photograph_on_its_side_tells_its_own_size(tmp_path: Path) -> None:
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (1201, 803), (90, 120, 150)).save(stream, "JPEG", exif=exif)
    (tmp_path / "turned.jpg").write_bytes(stream.getvalue())
    detector = BuiltinDetector(largest_side=300)
    images = [ImageRef(str(tmp_path / "turned.jpg"), None, None, None)]
    tools = WorkerModels(detector, fakes.FakePredictor(), CpuFaceExtractor(detector, 300))
    found = process_images(images, fakes.config("/labels"), tools, Stopwatch(), on_progress=lambda _: None, read=read_uri)
    assert (found.facts[0].width, found.facts[0].height) == (803, 1201)
