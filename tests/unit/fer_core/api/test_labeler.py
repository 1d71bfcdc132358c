"""The calls for scripts and notebooks, with the shipped networks."""

import hashlib
import os
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from skimage import data

import fer_core
from fer_core.align.aligner import align
from fer_core.api.label_rows import ROWS
from fer_core.api.labeler import BATCH
from fer_core.errors import DetectorError, ModelError, UsageError
from fer_core.pipeline.shard import label_shard
from fer_core.run.part_name import PartName
from fer_core.run.shard_job import ShardJob
from fer_core.tables.schema import LABELS, POINT_NAMES
from fer_core.types import Faces
from tests.support import fakes

SHARED = Path(os.environ.get("FERFLOW_SHARED", Path(__file__).resolve().parents[5] / "shared")) / "data" / "photos"
ASTRONAUT = data.astronaut()
SAME = [name for name in LABELS.names if name not in {"run_id", "labeled_at"}]


@pytest.fixture(scope="module")
def labeler():
    with fer_core.Labeler(detector="builtin", device="cpu") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def photos(tmp_path_factory, two_pictures) -> Path:
    """Large, turned, grey, without a face, and files that are none."""
    folder = tmp_path_factory.mktemp("photos")
    group = Image.open(two_pictures / "t1.jpg")
    group.save(folder / "group.jpg", quality=95)
    group.resize((group.width * 2, group.height * 2)).save(folder / "large.jpg")
    exif = Image.Exif()
    exif[0x0112] = 8
    group.transpose(Image.Transpose.ROTATE_270).save(folder / "turned.jpg", exif=exif)
    Image.fromarray(ASTRONAUT).convert("L").save(folder / "grey.png")
    Image.new("RGB", (64, 48), "white").save(folder / "no-face.png")
    (folder / "broken.jpg").write_bytes((folder / "group.jpg").read_bytes()[:5000])
    (folder / "text.jpg").write_bytes(b"no picture")
    return folder


def by_worker(labeler, photos: Path, root: Path) -> tuple[pa.Table, pa.Table]:
    """Labels and images as a worker writes them."""
    config = replace(labeler._config, root=str(root), run_id="run-a", started_us=1)
    receipt = label_shard(ShardJob(config, PartName(0), tuple(fakes.refs(photos))))
    labels, images = (
        pq.read_table(next(root.glob(f"_staging/run-a/{table}/*.parquet")), partitioning=None) for table in ("labels", "images")
    )
    assert receipt.faces == labels.num_rows > 15
    return labels, images


def equal(frame: pd.DataFrame, labels: pa.Table, names: list[str]) -> bool:
    told = pa.Table.from_pandas(frame[names], schema=pa.schema([LABELS.field(name) for name in names]), preserve_index=False)
    return bool(told.equals(labels.select(names)))


def test_paths_and_bytes_get_the_answers_of_a_worker_bit_for_bit(labeler, photos, tmp_path):
    labels, images = by_worker(labeler, photos, tmp_path / "root")
    files = sorted(photos.iterdir())
    found = labeler.label(files)
    faces = found[found["status"] == "labeled"]
    assert equal(faces, labels, SAME)
    others = found[found["status"] != "labeled"]
    said = images.filter(pa.compute.equal(images["n_faces"], 0)).to_pylist()
    assert others["image_uri"].tolist() == [row["image_uri"] for row in said]
    assert others["status"].tolist() == [row["status"] for row in said] == ["unreadable", "no_face", "unsupported"]
    assert [None if pd.isna(text) else text for text in others["reason"]] == [row["reason"] for row in said]
    assert others["image_sha256"].tolist() == [row["image_sha256"] for row in said]
    assert others[["face_index", "box_x", "expression", "needs_review"]].isna().all(axis=None)
    assert found.index.tolist() == sorted(found.index)
    encoded = labeler.label(file.read_bytes() for file in files)
    assert encoded["image_uri"].isna().all()
    pd.testing.assert_frame_equal(encoded.drop(columns=["image_uri", "labeled_at"]), found.drop(columns=["image_uri", "labeled_at"]))


def test_the_same_path_twice_in_any_order_stays_as_given(labeler, photos):
    found = labeler.label([photos / "grey.png", photos / "absent.png", photos / "group.jpg", photos / "grey.png"])
    assert found.index.tolist() == [0, 1, *[2] * 6, 3]
    assert found.loc[1, "status"] == "missing"
    assert found.loc[0, "face_id"] == found.loc[3, "face_id"]
    assert found.loc[2, "face_index"].tolist() == list(range(6))


def test_all_kinds_of_pixels_agree_and_find_the_faces_of_the_path(labeler, photos):
    with Image.open(photos / "turned.jpg") as turned:
        pixels = np.array(turned.transpose(Image.Transpose.ROTATE_90))
        kinds = [pixels, np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)]), turned, torch.from_numpy(pixels).permute(2, 0, 1)]
        found = labeler.label(kinds)
    first = found.loc[0].drop(columns="labeled_at")
    for number in range(1, 4):
        pd.testing.assert_frame_equal(found.loc[number].drop(columns="labeled_at").reset_index(drop=True), first.reset_index(drop=True))
    head = np.array(pixels.shape[:2], "<i8").tobytes()
    assert set(found["image_sha256"]) == {hashlib.sha256(head + pixels.tobytes()).hexdigest()}
    assert found["image_uri"].isna().all()
    path = labeler.label(photos / "turned.jpg")
    shown = SAME[SAME.index("face_index") : SAME.index("model_name")]
    pd.testing.assert_frame_equal(path[shown].reset_index(drop=True), first[shown].reset_index(drop=True))


def test_a_path_that_is_decoded_smaller_has_the_faces_of_its_pixels(labeler, photos):
    path = labeler.label(photos / "large.jpg")
    pixels = labeler.label(Image.open(photos / "large.jpg"))
    assert len(path) == len(pixels) == 6
    matched = 0
    for one in path.itertuples():
        overlaps = [iou(one, other) for other in pixels.itertuples()]
        best = int(np.argmax(overlaps))
        assert overlaps[best] >= 0.9
        matched += one.expression == pixels["expression"].iloc[best]
    assert matched == 6


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not beside the repository")
def test_pixels_of_photographs_have_the_answers_of_their_paths(labeler):
    """Faces alike within IoU 0.9, expressions of 99 % of them."""
    files = sorted(SHARED.rglob("*.jpg"))[::10]
    assert len(files) >= 20
    paths, pixels = labeler.label(files), labeler.label(np.asarray(Image.open(file).convert("RGB")) for file in files)
    faces = same = 0
    for one in paths[paths["status"] == "labeled"].itertuples():
        others = list(pixels.loc[[one.Index]].itertuples())
        overlaps = [iou(one, other) for other in others]
        assert max(overlaps) >= 0.9, files[one.Index]
        faces, same = faces + 1, same + (others[int(np.argmax(overlaps))].expression == one.expression)
    assert faces == (pixels["status"] == "labeled").sum() >= 20
    assert same >= 0.99 * faces


def iou(one, other) -> float:
    across = min(one.box_x + one.box_w, other.box_x + other.box_w) - max(one.box_x, other.box_x)
    down = min(one.box_y + one.box_h, other.box_y + other.box_h) - max(one.box_y, other.box_y)
    common = max(0.0, across) * max(0.0, down)
    return common / (one.box_w * one.box_h + other.box_w * other.box_h - common)


def test_no_image_gives_no_row_and_the_same_columns(labeler):
    empty, one = labeler.label([]), labeler.label(np.zeros((1, 1, 3), np.uint8))
    assert empty.columns.tolist() == one.columns.tolist() == ROWS.names[1:]
    assert (empty.dtypes == one.dtypes).all()
    assert (len(empty), one["status"].tolist()) == (0, ["no_face"])


def test_too_many_pixels_are_a_row(labeler, monkeypatch):
    monkeypatch.setattr(labeler, "_config", replace(labeler._config, max_pixels=100))
    assert labeler.label(ASTRONAUT)["status"].tolist() == ["too_large"]


def test_detect_finds_the_same_faces_without_expressions(labeler, photos):
    found, labelled = labeler.detect(photos / "group.jpg"), labeler.label(photos / "group.jpg")
    assert found.columns.intersection(["expression", "confidence", "model_name"]).empty
    assert {"image_uri", "box_w", "yaw_deg", "status", "reason"} <= set(found.columns)
    both = ["face_index", "box_x", "nose_y", "sharpness", "detection_score"]
    pd.testing.assert_frame_equal(found[both], labelled[both])


def test_predict_labels_aligned_faces(labeler):
    labelled = labeler.label(ASTRONAUT)
    points = labelled[[f"{name}_{axis}" for name in POINT_NAMES for axis in "xy"]].to_numpy().reshape(-1, 5, 2)
    crops = align(ASTRONAUT, Faces(np.zeros((1, 4), np.float32), points, np.ones(1, np.float32)))
    found = labeler.predict(crops)
    names = ["expression", "confidence", "p_fear", "entropy", "novelty"]
    pd.testing.assert_frame_equal(found[names], labelled[names].reset_index(drop=True))
    assert len(labeler.predict(crops[:0])) == 0
    with pytest.raises(UsageError, match=r"shape \(N, 112, 112, 3\), not uint8 of \(512, 512, 3\)"):
        labeler.predict(ASTRONAUT)


def test_several_threads_get_the_answers_of_one(labeler):
    first, found = labeler.label(ASTRONAUT), []
    threads = [threading.Thread(target=lambda: found.append(labeler.label(ASTRONAUT))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for frame in found:
        pd.testing.assert_frame_equal(frame.drop(columns="labeled_at"), first.drop(columns="labeled_at"))


def test_ctrl_c_returns_what_is_done(labeler):
    def interrupted():
        for _ in range(40):
            yield np.zeros((8, 8, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.warns(RuntimeWarning, match="interrupted after 32 images"):
        found = labeler.label(interrupted())
    assert found.index.tolist() == list(range(32))


def test_a_generator_is_taken_as_far_as_it_is_labelled(labeler):
    given, most = list[weakref.ref[np.ndarray]](), 0

    def images():
        nonlocal most
        for _ in range(200):
            image = np.zeros((8, 8, 3), np.uint8)
            given.append(weakref.ref(image))
            yield image
            del image
            most = max(most, sum(one() is not None for one in given))

    assert len(labeler.label(images())) == 200
    assert most <= BATCH + 1


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"detector": "nothing"}, UsageError, "unknown detector"),
        ({"detector": "yunet:/no/file"}, DetectorError, "not found"),
        ({"model": "nothing"}, ModelError, "nothing"),
        ({"min_face": "3"}, UsageError, "at least 10"),
        ({"prior": "nothing"}, UsageError, "prior"),
        ({"batch": 0}, UsageError, "at least one"),
    ],
)
def test_wrong_options_are_one_line(options, error, told):
    with pytest.raises(error, match=told) as caught:
        fer_core.label_images([], **options)
    assert "\n" not in str(caught.value)


def test_a_closed_labeler_and_what_is_no_image_are_refused(labeler):
    with fer_core.Labeler(detector="builtin", device="cpu") as closed:
        pass
    with pytest.raises(UsageError, match="closed"):
        closed.label(ASTRONAUT)
    with pytest.raises(UsageError, match=r"image 1: .*not int"):
        labeler.label([ASTRONAUT, 3])


def test_loading_leaves_the_threads_of_the_process_as_they_are():
    import cv2

    before = torch.get_num_threads(), cv2.getNumThreads()
    fer_core.label_images([], detector="builtin", device="cpu")
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before
