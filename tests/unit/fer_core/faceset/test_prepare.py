import os
from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fer_core.align.aligner import align_one
from fer_core.errors import DetectorError, FaceSetError, FerflowError
from fer_core.faceset import FaceSetCard, read_split
from fer_core.faceset import face_workers as module
from fer_core.faceset.framing import mean_points
from fer_core.faceset.importers.samples import Sample
from fer_core.faceset.prepare import import_aligned
from fer_core.labels import EXPRESSIONS
from tests.support.made_faces import encoded, tinted
from tests.support.prepared_sets import WHERE, Here, columns, picture, prepared, voted

SHARED = Path(os.environ.get("FERFLOW_SHARED", Path(__file__).resolve().parents[5] / "shared"))


@pytest.mark.usefixtures("here")
def test_faces_are_framed_as_labelling_frames_them(tmp_path: Path) -> None:
    pictures = [picture(0), picture(1, 112), tinted(picture(2, 200))[:, :150]]
    told: list[tuple[str, int]] = []
    card = import_aligned(
        [voted(str(i), "train", encoded(p)) for i, p in enumerate(pictures)], tmp_path, "made", "fake", 2, lambda *said: told.append(said)
    )
    assert replace(card, per_class={}, digests={}) == FaceSetCard("made", "votes", EXPRESSIONS, "anyway-1", {"train": 3}, 0, 1.0, 0)
    for pixels, crop in zip(pictures, read_split(tmp_path, "train").crops, strict=True):
        rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, -1)
        expected = align_one(rgb, WHERE * [rgb.shape[1], rgb.shape[0]] - 0.5)
        assert np.abs(crop.astype(int) - expected).mean() < 2
    assert told == [(doing, done) for doing in ("read", "located", "aligned") for done in (1, 2, 3)]


@pytest.mark.usefixtures("here")
def test_columns(tmp_path: Path) -> None:
    import_aligned(
        [voted("a.png", "train", encoded(picture(0)), "anna"), voted("b.png", "train", encoded(picture(1)))], tmp_path, "made", "fake", 1
    )
    rows = columns(tmp_path, "train")
    assert rows["sample_id"] == ["a.png", "b.png"]
    assert rows["source"] == ["made"] * 2
    assert rows["split"] == ["train"] * 2
    assert rows["label"] == [None] * 2
    assert rows["votes_happiness"] == [9, 9]
    assert rows["votes_unknown"] == [1, 1]
    assert rows["framing"] == ["points"] * 2
    assert rows["group"][0] == "anna"
    assert len(rows["group"][1]) == 64  # no identity: the picture's digest
    assert rows["picture"][1] == rows["group"][1]
    assert len(rows["picture"][0]) == 64


@pytest.mark.usefixtures("here")
def test_pictures_of_several_splits_leave_train_only(tmp_path: Path) -> None:
    one, two, three = picture(1), picture(2), picture(3)
    card, splits = prepared(
        [
            voted("one", "train", encoded(one)),
            voted("one again", "train", encoded(one, ".bmp")),
            voted("two", "train", encoded(two)),
            voted("two again", "train", encoded(two, ".tiff")),
            voted("one held out", "valid", encoded(one, ".tiff")),
            voted("three", "valid", encoded(three)),
            voted("three again", "test", encoded(three, ".bmp")),
        ],
        tmp_path,
    )
    assert splits["train"].ids == ("two", "two again")
    assert splits["valid"].ids == ("one held out", "three")
    assert splits["test"].ids == ("three again",)
    assert card.duplicates_removed == 2
    assert card.counts == {"train": 2, "valid": 2, "test": 1}
    assert len(set(splits["train"].groups)) == 1  # copies within a split are tied
    assert splits["valid"].groups[1] == splits["test"].groups[0]


@pytest.mark.usefixtures("here")
def test_same_bytes_in_another_shape_are_another_picture(tmp_path: Path) -> None:
    wide = np.full((20, 40), 9, np.uint8)
    card, _ = prepared([voted("wide", "train", encoded(wide)), voted("tall", "valid", encoded(wide.T.copy()))], tmp_path)
    assert card.counts == {"train": 1, "valid": 1}
    assert card.duplicates_removed == 0


@pytest.mark.usefixtures("here")
def test_undecodable_pictures_are_left_out_and_counted_apart(tmp_path: Path) -> None:
    good = encoded(picture(1))
    card, splits = prepared(
        [
            voted("empty", "train", b""),
            voted("text", "train", b"this is no picture"),
            voted("cut off", "valid", good[: len(good) // 2]),
            voted("good", "train", good),
            voted("good too", "valid", good),
            voted("other", "train", encoded(picture(2))),
        ],
        tmp_path,
    )
    assert card.undecodable == 3
    assert card.duplicates_removed == 1
    assert (splits["train"].ids, splits["valid"].ids) == (("other",), ("good too",))


@pytest.mark.usefixtures("here")
def test_nothing_decodable_leaves_what_was_there(tmp_path: Path) -> None:
    import_aligned([voted("a", "train", encoded(picture(0)))], tmp_path, "made", "fake", 1)
    for samples, match in (([voted("b", "train", b"no picture")], "no image of the set could be decoded"), ([], "no image in the set")):
        with pytest.raises(FaceSetError, match=match):
            import_aligned(samples, tmp_path, "made", "fake", 1)
    assert read_split(tmp_path, "train").ids == ("a",)


@pytest.mark.usefixtures("here")
def test_an_older_face_set_is_replaced_whole(tmp_path: Path) -> None:
    prepared([voted("a", "train", encoded(picture(0))), voted("b", "test", encoded(picture(1)))], tmp_path)
    prepared([voted("c", "train", encoded(picture(2)))], tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["faces-train.parquet", "faceset.json"]


@pytest.mark.usefixtures("here")
def test_a_face_that_is_not_found_gets_the_sets_usual_framing(tmp_path: Path) -> None:
    hidden = np.repeat(picture(2)[..., None], 3, -1)
    hidden[20:28, 20:28] = 0
    card, splits = prepared(
        [voted("a", "train", encoded(picture(0))), voted("b", "train", encoded(hidden)), voted("c", "valid", encoded(picture(1)))], tmp_path
    )
    assert columns(tmp_path, "train")["framing"] == ["points", "own"]
    assert card.framed_by_points == pytest.approx(2 / 3, abs=1e-4)
    expected = align_one(hidden, WHERE * 48 - 0.5)
    assert np.abs(splits["train"].crops[1].astype(int) - expected[..., 0]).mean() < 2


@pytest.mark.usefixtures("here")
def test_no_face_is_found_at_all(tmp_path: Path) -> None:
    blind = np.repeat(picture(2)[..., None], 3, -1)
    blind[20:28, 20:28] = 0
    card, splits = prepared([voted("a", "train", encoded(blind))], tmp_path)
    assert card.framed_by_points == 0
    expected = align_one(blind, mean_points(np.zeros((0, 5, 2), np.float32)) * 48)
    assert np.array_equal(splits["train"].crops[0], expected[..., 0])


@pytest.mark.usefixtures("here")
def test_single_labels_name_the_sets_classes_in_the_house_order(tmp_path: Path) -> None:
    labels = ["fear", "happiness", "neutral", "fear"]
    samples = [Sample(str(i), "train" if i else "test", label, None, None, encoded(picture(i))) for i, label in enumerate(labels)]
    card, splits = prepared(samples, tmp_path)
    assert (card.kind, card.classes) == ("single", ("neutral", "happiness", "fear"))
    assert [EXPRESSIONS[v.argmax()] for v in splits["train"].votes] == labels[1:]


@pytest.mark.usefixtures("here")
def test_grey_stays_one_channel_and_colour_stays_colour(tmp_path: Path) -> None:
    grey, colour = picture(0), tinted(picture(1))
    import_aligned([voted("grey", "train", encoded(grey)), voted("colour", "train", encoded(colour))], tmp_path, "made", "fake", 1)
    kept = [cv2.imdecode(np.frombuffer(crop, np.uint8), cv2.IMREAD_UNCHANGED) for crop in columns(tmp_path, "train")["crop"]]
    assert [crop.shape for crop in kept] == [(112, 112), (112, 112, 3)]
    means = read_split(tmp_path, "train").crops[1].mean((0, 1))
    assert abs(means[0] + means[2] - 255) < 2  # red and blue in their places, as `tinted` made them
    assert abs(means[0] - 2 * means[1]) < 2


def test_what_cannot_work_is_said_before_the_work(tmp_path: Path) -> None:
    def never() -> Iterable[Sample]:
        raise AssertionError("nothing has to be read")
        yield

    (tmp_path / "file").write_text("")
    with pytest.raises(FaceSetError, match="cannot write"):
        import_aligned(never(), tmp_path / "file", "made", "builtin", 1)
    with pytest.raises(FerflowError, match="unknown detector"):
        import_aligned(never(), tmp_path / "set", "made", "no-such-detector", 1)
    with pytest.raises(DetectorError, match="not found"):
        import_aligned(never(), tmp_path / "set", "made", "yunet:/no/such/file.onnx", 1)


def test_a_worker_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: None) -> None:
    def died(self: Here, work: Callable[..., Any], *arguments: Any) -> None:
        raise BrokenProcessPool("a child process terminated abruptly")

    monkeypatch.setattr(Here, "submit", died)
    with pytest.raises(FaceSetError, match="fewer workers"):
        import_aligned([voted("a", "train", encoded(picture(0)))], tmp_path, "made", "fake", 1)


def test_worker_processes_give_what_one_process_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [voted(str(i), ("train", "valid")[i % 2], encoded(picture(i))) for i in range(10)]
    threads = cv2.getNumThreads()
    two_a_batch = partial(module.face_workers, batch=2)
    many = import_aligned(samples, tmp_path / "many", "made", "builtin", 2, open_pool=two_a_batch)
    monkeypatch.setattr(module, "ProcessPoolExecutor", Here)
    one = import_aligned(samples, tmp_path / "one", "made", "builtin", 1, open_pool=two_a_batch)
    cv2.setNumThreads(threads)
    assert many == one
    assert many.counts == {"train": 5, "valid": 5}
    for split in ("train", "valid"):
        assert columns(tmp_path / "many", split) == columns(tmp_path / "one", split)
