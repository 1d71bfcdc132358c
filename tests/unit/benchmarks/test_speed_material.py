"""What the benchmarks of speed measure on, and how they compare answers."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmarks.accuracy.matched import LabelledFaces, agreement, of_labels, pairs
from benchmarks.common import pictures
from benchmarks.throughput import one_by_one
from fer_core.detect.registry import build
from fer_core.models.store import resolve_model
from fer_core.predict.predictor import Predictor


@pytest.fixture(scope="module")
def faces():
    return pictures.demo_faces()


def digests(folder):
    return {hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_composed_picture_has_the_faces_that_were_asked_for(faces, count):
    pixels = pictures.mosaic(faces, count, 0.5, seed=count)
    assert pixels.shape[0] * pixels.shape[1] == pytest.approx(500_000, rel=0.01)
    assert len(build("builtin").detect(pixels)) == count
    assert np.array_equal(pixels, pictures.mosaic(faces, count, 0.5, seed=count))


def test_composed_collections_vary_and_no_two_files_are_alike(tmp_path):
    folder = pictures.varied(tmp_path / "varied", 30, megapixels=0.05)
    assert len(digests(folder)) == 30


def test_photographs_come_from_folders_below_and_each_copy_has_its_own_digest(tmp_path):
    (tmp_path / "photos" / "below").mkdir(parents=True)
    drawn = np.random.default_rng(0)
    for name in ("one.jpg", "below/two.PNG", "below/three.jpeg", "none.txt"):
        file = tmp_path / "photos" / name
        if file.suffix == ".txt":
            file.write_text("not a picture")
        else:
            Image.fromarray(drawn.integers(0, 256, (60, 90, 3), np.uint8)).save(file)
    folder = pictures.repeated(tmp_path / "photos", tmp_path / "copies", 35, megapixels=0.01)
    assert [file.name for file in sorted(folder.iterdir())] == [f"photo-{number:06d}.jpg" for number in range(35)]
    assert len(digests(folder)) == 35
    with Image.open(folder / "photo-000034.jpg") as copy:
        assert copy.width * copy.height == pytest.approx(10_000, rel=0.02)


def test_a_folder_without_pictures_says_so(tmp_path):
    with pytest.raises(SystemExit, match="no pictures under"):
        pictures.repeated(tmp_path, tmp_path / "copies", 3)


def test_one_face_at_a_time_gets_the_pipelines_labels(faces, tmp_path):
    crops = [np.array(Image.fromarray(face).resize((112, 112))) for face in faces]
    network, said = one_by_one.FaceByFace(), Predictor(resolve_model("tiny"), "cpu", quantized=False).predict(np.stack(crops))
    answers = [network.label(crop) for crop in crops]
    assert [name for name, _ in answers] == [one_by_one.EXPRESSIONS[index] for index in said.expression]
    assert [sure for _, sure in answers] == pytest.approx(said.confidence.tolist(), abs=1e-3)

    (tmp_path / "pictures").mkdir()
    Image.fromarray(faces[0]).save(tmp_path / "pictures" / "a.jpg")
    (tmp_path / "pictures" / "broken.jpg").write_bytes(b"no picture")
    told = one_by_one.labelled(tmp_path / "pictures", tmp_path / "rows.parquet", lambda _: crops[:2], network)
    assert (told["images"], told["faces"]) == (2, 2)
    rows = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [(row["file"], row["face"], row["expression"]) for row in rows] == [("a.jpg", n, answers[n][0]) for n in range(2)]


def said(boxes, expressions, confidence):
    return LabelledFaces(np.array(boxes, np.float32).reshape(-1, 4), tuple(expressions), np.array(confidence))


def test_faces_are_matched_once_and_compared():
    one = {"a": said([[0, 0, 10, 10], [20, 0, 30, 10]], ["anger", "fear"], [0.9, 0.5]), "b": said([], [], [])}
    other = {
        "a": said([[21, 0, 31, 10], [1, 0, 11, 10], [0, 0, 10, 11]], ["fear", "sadness", "anger"], [0.4, 0.3, 0.8]),
        "c": said([[0, 0, 9, 9]], ["fear"], [1.0]),
    }
    assert [(pair.one[0], pair.other[0]) for pair in pairs(one, other)] == [("anger", "anger"), ("fear", "fear")]
    told = agreement(one, other)
    assert (told["faces_one"], told["faces_other"], told["matched"], told["same_expression"]) == (2, 4, 2, 1.0)
    assert told["found_by_both"] == pytest.approx(4 / 6)
    assert told["confidence_apart_largest"] == pytest.approx(0.1)
    assert told["confidence_within_0.01"] == 0
    assert agreement({}, {})["matched"] == 0


def test_a_labels_root_is_read_by_the_pictures_names(tmp_path):
    (tmp_path / "labels").mkdir()
    columns = {"box_x": [1.0, 5.0], "box_y": [2.0, 5.0], "box_w": [3.0, 5.0], "box_h": [4.0, 5.0]}
    names = ["/pictures/in/a.jpg", "/pictures/b.jpg"]
    table = pa.table({"image_uri": names, **columns, "expression": ["anger", "fear"], "confidence": [0.5, 0.25]})
    pq.write_table(table, tmp_path / "labels" / "part.parquet")
    read = of_labels(tmp_path, Path("/pictures"))
    assert sorted(read) == ["b.jpg", "in/a.jpg"]
    assert read["in/a.jpg"].boxes.tolist() == [[1, 2, 4, 6]]
    assert read["b.jpg"].expressions == ("fear",)
