"""Photographs searched by the smallest face of the run: decoded at a part of their size, and labelled as if they were not."""

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from fer_core.align.face_extractor import CpuFaceExtractor
from fer_core.align.face_search import FaceSearch
from fer_core.decode import decode_prefetch, decoder
from fer_core.decode.min_face import MinFace
from fer_core.detect.base import box_iou
from fer_core.detect.builtin.detector import BuiltinDetector
from fer_core.pipeline.label_images import LabelledImages, _spans, process_images
from fer_core.pipeline.worker_models import WorkerModels
from fer_core.run.configuration import LUMA
from fer_core.storage.store import read_uri
from fer_core.tables.builder import ImageFacts
from fer_core.timing import Stopwatch
from fer_core.types import Picture
from tests.support import fakes

HEAD = (180, 62, 272, 177)
"""The astronaut's face, brows to chin."""
PLACES = ((2200, 100, 2000), (300, 300, 700), (400, 2100, 170))
"""Left, top and side of each copy of the astronaut in the large photograph: faces of 360, 126 and 31 px."""


class Together(CpuFaceExtractor):
    """Several at a time."""

    pictures = 4


class Predictor(fakes.FakePredictor):
    """Keeps the crops that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.crops: list[NDArray[np.uint8]] = []

    def predict(self, crops: NDArray[np.uint8], /):  # type: ignore[no-untyped-def]  # as its parent
        self.crops.extend(crops)
        return super().predict(crops)


def box(left: int, top: int, side: int) -> list[float]:
    return [edge * side / 512 + start for edge, start in zip(HEAD, (left, top, left, top), strict=True)]


@pytest.fixture(scope="module")
def canvas() -> Image.Image:
    """Twelve megapixels, three faces."""
    canvas, face = Image.new("RGB", (4000, 3000), (90, 120, 150)), Image.fromarray(data.astronaut())
    for left, top, side in PLACES:
        canvas.paste(face.resize((side, side), Image.Resampling.LANCZOS), (left, top))
    return canvas


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Sizes of the pictures that were decoded."""
    seen, original = list[tuple[int, ...]](), decoder.decode

    def noting(*arguments: object, **options: object) -> Picture:
        picture: Picture = original(*arguments, **options)  # type: ignore[arg-type]  # whatever they are
        seen.append(picture.pixels.shape[:2])
        return picture

    monkeypatch.setattr(decoder, "decode", noting)
    return seen


def run_over(
    folder: Path, min_face: str | None, predictor: fakes.FakePredictor | None = None, second_decode: str | None = None
) -> LabelledImages:
    detector = BuiltinDetector()
    tools = WorkerModels(detector, predictor or fakes.FakePredictor(), CpuFaceExtractor(detector, detector.largest_side))
    config = replace(fakes.config("/labels"), min_face=min_face, second_decode=second_decode)
    return process_images(fakes.refs(folder), config, tools, Stopwatch(), on_progress=lambda _: None, read=read_uri)


def found(facts: ImageFacts) -> NDArray[np.float32]:
    return np.zeros((0, 4), np.float32) if facts.faces is None else facts.faces.boxes


def seen(facts: ImageFacts) -> list[bool]:
    """Whether each face of `PLACES` was found."""
    truth = np.array([box(*place) for place in PLACES])
    return [bool(overlap > 0.6) for overlap in box_iou(truth, found(facts)).max(axis=1, initial=0)]


def saved(canvas: Image.Image, folder: Path, name: str, **options: object) -> Path:
    folder.mkdir(exist_ok=True)
    canvas.save(folder / name, **options)
    return folder


def test_faces_are_those_of_the_photograph_and_crops_as_fine_as_it(canvas, tmp_path, decoded):
    predictor, full = Predictor(), Predictor()
    folder = saved(canvas, tmp_path / "jpeg", "photo.jpg", quality=92)
    (facts,) = run_over(folder, "1%", predictor).facts
    assert decoded == [(750, 1000), (3000, 4000)]  # once more, for the face of 126 px
    assert (facts.width, facts.height, facts.n_faces) == (4000, 3000, 2)
    (exact,) = run_over(folder, None, full).facts
    assert (seen(facts), seen(exact)) == ([True, True, False], [True, True, True])
    for place in PLACES[:2]:
        one, other = (int(box_iou(np.array([box(*place)]), found(each))[0].argmax()) for each in (facts, exact))
        assert np.abs(predictor.crops[one].astype(int) - full.crops[other]).mean() < 12  # a few pixels' shift
    assert facts.quality is not None
    assert facts.quality.face_size_px.max() > 350


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_second_decode_of_luma_gives_the_same_faces_in_colour(canvas, tmp_path, orientation):
    exif, upright = Image.Exif(), {1: canvas, 6: canvas.transpose(Image.Transpose.ROTATE_90)}
    exif[0x0112] = orientation
    folder = saved(upright[orientation], tmp_path / "jpeg", "photo.jpg", quality=92, exif=exif)
    earlier, now = Predictor(), Predictor()
    (before,), (after,) = run_over(folder, "1%", earlier).facts, run_over(folder, "1%", now, LUMA).facts
    assert np.array_equal(found(before), found(after))
    assert before.quality is not None
    assert after.quality is not None
    assert np.abs(before.quality.sharpness - after.quality.sharpness).max() < 0.01
    changed = [not np.array_equal(*pair) for pair in zip(earlier.crops, now.crops, strict=True)]
    assert sorted(changed) == [False, True]  # the largest face is fine enough in the first decode
    one, other = earlier.crops[changed.index(True)], now.crops[changed.index(True)]
    assert np.abs(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY).astype(int) - cv2.cvtColor(other, cv2.COLOR_RGB2GRAY)).mean() < 1
    assert np.abs(one.astype(int) - other).mean() < 4


def test_pictures_that_have_no_luma_of_their_own_are_decoded_again_in_colour(canvas, tmp_path):
    folder = saved(canvas.convert("CMYK"), tmp_path / "cmyk", "photo.jpg", quality=92)
    earlier, now = Predictor(), Predictor()
    run_over(folder, "1%", earlier)
    run_over(folder, "1%", now, LUMA)
    assert np.array_equal(np.stack(earlier.crops), np.stack(now.crops))


@pytest.mark.parametrize(
    ("min_face", "sizes", "faces"),
    [
        ("20", [(1500, 2000), (3000, 4000)], [True, True, True]),
        ("4%", [(375, 500), (750, 1000)], [True, False, False]),  # the largest face alone, which needs no more
        ("30%", [(375, 500)], [False, False, False]),
    ],
)
def test_no_finer_than_it_takes(canvas, tmp_path, decoded, min_face, sizes, faces):
    (facts,) = run_over(saved(canvas, tmp_path / "jpeg", "photo.jpg", quality=92), min_face).facts
    assert (decoded, seen(facts)) == (sizes, faces)


def test_what_is_no_jpeg_is_decoded_in_full_and_searched_alike(canvas, tmp_path, decoded):
    (facts,) = run_over(saved(canvas, tmp_path / "png", "photo.png", compress_level=1), "1%").facts
    assert (decoded, seen(facts)) == ([(3000, 4000)], [True, True, False])


def test_a_photograph_on_its_side_has_the_same_faces(canvas, tmp_path, decoded):
    exif = Image.Exif()
    exif[0x0112] = 6
    folder = saved(canvas.transpose(Image.Transpose.ROTATE_90), tmp_path / "turned", "photo.jpg", quality=92, exif=exif)
    (facts,) = run_over(folder, "1%").facts
    assert decoded == [(750, 1000), (3000, 4000)]
    assert (facts.width, facts.height, seen(facts)) == (4000, 3000, [True, True, False])


def test_small_pictures_are_not_reduced(tmp_path, decoded):
    folder = saved(Image.fromarray(data.astronaut()), tmp_path / "small", "astronaut.jpg", quality=95)
    (facts,) = run_over(folder, "1%").facts
    assert (decoded, facts.n_faces) == ([(512, 512)], 1)


def test_runs_of_earlier_releases_search_as_they_did(canvas, tmp_path, decoded):
    """Nothing is reduced below the detector's own limit, which is longer than this photograph."""
    (facts,) = run_over(saved(canvas, tmp_path / "jpeg", "photo.jpg", quality=92), None).facts
    assert (decoded, seen(facts)) == ([(3000, 4000)], [True, True, True])


@pytest.mark.parametrize("room", [1, 10_000_000, 2**25])
def test_photographs_that_are_searched_together_have_the_same_faces(canvas, tmp_path, decoded, monkeypatch, room):
    """Those that are decoded again are so in threads, as many as there is room for."""
    folder = tmp_path / "group"
    small = canvas.resize((2400, 1800))
    for number in range(3):
        saved(small.crop((0, 0, 2400 - number, 1800)), folder, f"photo-{number}.jpg", quality=90)
    saved(small.crop((0, 1000, 100, 1100)), folder, "none.jpg")
    alone = run_over(folder, "1%")
    before = sorted(decoded)
    decoded.clear()
    monkeypatch.setattr(decode_prefetch, "PIXELS_AHEAD", room)
    monkeypatch.setattr(decode_prefetch, "PIXELS_A_PICTURE", 1)
    monkeypatch.setenv("FERFLOW_DECODERS", "3")
    extractor = Together(BuiltinDetector())
    tools, watch = WorkerModels(BuiltinDetector(), fakes.FakePredictor(), extractor), Stopwatch()
    config = replace(fakes.config("/labels"), min_face="1%")
    together = process_images(fakes.refs(folder), config, tools, watch, on_progress=lambda _: None, read=read_uri)
    assert sorted(decoded) == before
    assert len(before) == 7
    for one, other in zip(alone.facts, together.facts, strict=True):
        assert (one.ref, one.status, one.n_faces) == (other.ref, other.status, other.n_faces)
        assert np.array_equal(found(one), found(other))
    assert np.array_equal(alone.answers.predictions.probabilities, together.answers.predictions.probabilities)
    assert watch.seconds["decode"] > 0


@given(st.lists(st.integers(0, 50), max_size=12), st.integers(1, 100))
def test_spans_hold_all_in_order_and_no_more_than_there_is_room_for(sizes, limit):
    spans = _spans(sizes, limit)
    assert [number for start, end in spans for number in range(start, end)] == list(range(len(sizes)))
    assert all(sum(sizes[start:end]) <= limit or end - start == 1 for start, end in spans)


def test_the_rule_for_a_decoded_picture():
    picture = Picture(np.zeros((750, 1000, 3), np.uint8), height=3000, width=4000)
    search = FaceSearch(MinFace.parse("1%"), 16.0)
    look = search.look(picture)
    assert (look.least, look.side, search.smallest(picture)) == (10, 1000, 40)
    assert search.coarse(np.array([0.5, 1.0, 1.01, 3])).tolist() == [2, 3]
    assert [search.second_reduction(np.array([scale]), picture) for scale in (0.1, 0.26, 0.5, 0.51, 2)] == [8, 2, 2, 1, 1]
    earlier = FaceSearch(None, 16.0, 500)
    look = earlier.look(picture)
    assert (look.least, look.side, earlier.reduction(4000, 3000)) == (4, None, 8)
    assert earlier.coarse(np.array([0.5, 0.51])).tolist() == [1]
    assert earlier.second_reduction(np.array([0.1]), picture) == 1


def test_damage_that_only_the_second_decode_meets_quarantines_that_picture(canvas, tmp_path, monkeypatch):
    """Its status is that of any picture that cannot be decoded."""
    stream = io.BytesIO()
    canvas.save(stream, "JPEG", quality=92)
    folder = tmp_path / "jpeg"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(stream.getvalue())
    calls, original = [0], decoder.decode

    def failing(*arguments: object, **options: object) -> Picture:
        calls[0] += 1
        if calls[0] == 2:
            raise MemoryError
        return original(*arguments, **options)  # type: ignore[arg-type]  # whatever they are

    monkeypatch.setattr(decoder, "decode", failing)
    (facts,) = run_over(folder, "1%").facts
    assert (facts.status, facts.width) == ("too_large", 4000)
