import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from made_faces import encoded, face, tinted
from numpy.typing import NDArray

from fer_core import face_workers as module
from fer_core import prepare as prepare_module
from fer_core.align import align_one
from fer_core.errors import DetectorError, FaceSetError, FerflowError
from fer_core.faceset import FaceSetCard, FaceSplit, read_card, read_rows, read_split
from fer_core.framing import PADDING, usual_points
from fer_core.importers import raw as raw_module
from fer_core.importers.raw import import_raw
from fer_core.importers.samples import Sample
from fer_core.labels import EXPRESSIONS
from fer_core.prepare import import_aligned, prepare
from fer_core.types import Faces

SHARED = Path(os.environ.get("FERFLOW_SHARED", Path(__file__).resolve().parents[2] / "shared"))
WHERE = np.array([[0.32, 0.38], [0.68, 0.38], [0.5, 0.6], [0.35, 0.75], [0.65, 0.75]], np.float32)
VOTES = (0, 9, 0, 0, 0, 0, 0, 0, 1, 0)


class Anyway:
    """Finds one face, always at the same parts of the picture, unless the picture's middle is black."""

    identity = "anyway-1"

    def detect(self, pixels: NDArray[np.uint8]) -> Faces:
        height, width = pixels.shape[:2]
        if not pixels[height // 2, width // 2].any():
            return Faces.none()
        pad = max(height, width) / (1 + 2 * PADDING) * PADDING
        points = WHERE * [width - 2 * pad, height - 2 * pad] + pad - 0.5
        return Faces(np.array([[0, 0, width, height]], np.float32), points[None].astype(np.float32), np.ones(1, np.float32))


class Here:
    """A process pool without processes."""

    def __init__(self, workers: int, mp_context: Any, initializer: Callable[..., None], initargs: tuple[Any, ...]) -> None:
        assert workers >= 1
        initializer(*initargs)

    def shutdown(self, cancel_futures: bool) -> None:
        assert cancel_futures

    def submit(self, work: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_result(work(*arguments))
        return future


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = cv2.getNumThreads()
    monkeypatch.setattr(module, "ProcessPoolExecutor", Here)
    for place in (module, prepare_module):
        monkeypatch.setattr(place, "build", lambda spec: Anyway())
    monkeypatch.setattr(module, "BATCH", 3)
    yield
    cv2.setNumThreads(threads)


def picture(seed: int, side: int = 48) -> NDArray[np.uint8]:
    return face(EXPRESSIONS[seed % 8], np.random.default_rng(seed), side)


def voted(name: str, split: str, data: bytes, group: str | None = None) -> Sample:
    """A sample of a set with raters."""
    return Sample(name, split, None, VOTES, group, data)


def prepared(samples: Iterable[Sample], to: Path) -> tuple[FaceSetCard, dict[str, FaceSplit]]:
    card = import_aligned(samples, to, "made", "fake", 1)
    assert read_card(to) == card
    return card, {split: read_split(to, split) for split in card.counts}


def columns(folder: Path, split: str) -> dict[str, list[Any]]:
    return pq.read_table(folder / f"faces-{split}.parquet").to_pydict()


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
    for samples, match in (([voted("b", "train", b"no picture")], "no picture of the set could be decoded"), ([], "no picture in the set")):
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
    expected = align_one(blind, usual_points(np.zeros((0, 5, 2), np.float32)) * 48)
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
    monkeypatch.setattr(module, "BATCH", 2)
    many = import_aligned(samples, tmp_path / "many", "made", "builtin", 2)
    monkeypatch.setattr(module, "ProcessPoolExecutor", Here)
    one = import_aligned(samples, tmp_path / "one", "made", "builtin", 1)
    cv2.setNumThreads(threads)
    assert many == one
    assert many.counts == {"train": 5, "valid": 5}
    for split in ("train", "valid"):
        assert columns(tmp_path / "many", split) == columns(tmp_path / "one", split)


# Raw sets


def mixed() -> list[Sample]:
    """Copies, broken pictures, identities and colours in all splits."""
    pictures = [picture(i, 40 + i) for i in range(6)]
    pictures[4] = tinted(pictures[4])
    pictures[5] = np.repeat(pictures[5][..., None], 3, -1)
    pictures[5][15:30, 15:30] = 0
    train = [voted(f"t{i}", "train", encoded(p), ("anna", "bert", None)[i % 3]) for i, p in enumerate(pictures)]
    held = [
        voted("v0", "valid", encoded(pictures[1], ".bmp")),
        voted("v1", "valid", encoded(picture(7)), "anna"),
        voted("v2", "test", b"broken", "bert"),
    ]
    return [*train[:3], *held, *train[3:], voted("t6", "train", b"")]


@pytest.mark.usefixtures("here")
def test_importing_gives_row_for_row_what_raw_and_prepare_give(tmp_path: Path) -> None:
    at_once = import_aligned(mixed(), tmp_path / "once", "made", "fake", 1)
    raw = import_raw(mixed(), tmp_path / "raw", "made")
    later = prepare(tmp_path / "raw", tmp_path / "later", "fake", 3)
    assert raw.raw
    assert not later.raw
    assert at_once == later == read_card(tmp_path / "later")
    assert at_once.digests == later.digests  # the very same bytes
    for split in at_once.counts:
        assert columns(tmp_path / "once", split) == columns(tmp_path / "later", split)
    assert prepare(tmp_path / "raw", tmp_path / "later", "fake", 1) == later  # again, over the first


@pytest.mark.usefixtures("here")
def test_training_gives_way_to_held_out_pictures_and_people(tmp_path: Path) -> None:
    card, splits = prepared(mixed(), tmp_path)
    assert splits["train"].ids == ("t2", "t4", "t5")  # t1 is also in valid; t0 and t3 show anna; bert's held-out picture is broken
    assert splits["valid"].ids == ("v0", "v1")
    assert (card.duplicates_removed, card.straddling_removed, card.undecodable) == (1, 2, 2)
    assert card.counts == {"train": 3, "valid": 2}
    assert {split: sum(counts.values()) for split, counts in card.per_class.items()} == card.counts
    assert splits["train"].groups == (splits["train"].pictures[0], "bert", splits["train"].pictures[2])
    assert len(set(splits["train"].pictures)) == 3


@pytest.mark.usefixtures("here")
def test_a_copy_of_somebody_who_straddles_counts_as_a_duplicate(tmp_path: Path) -> None:
    data = encoded(picture(0))
    samples = [voted("a", "train", data, "anna"), voted("b", "train", encoded(picture(1))), voted("c", "valid", data, "anna")]
    card, splits = prepared(samples, tmp_path)
    assert splits["train"].ids == ("b",)
    assert (card.duplicates_removed, card.straddling_removed) == (1, 0)


def test_a_raw_set_holds_the_files_as_they_were(tmp_path: Path) -> None:
    told: list[int] = []
    card = import_raw(mixed(), tmp_path, "made", told.append)
    assert card == read_card(tmp_path)
    assert (card.name, card.kind, card.raw, card.detector, card.framed_by_points) == ("made", "votes", True, "", 0.0)
    assert card.counts == {"train": 7, "valid": 2, "test": 1}
    assert told == list(range(1, 11))
    kept = {row["sample_id"]: row for split in card.counts for row in read_rows(tmp_path, split)}
    for sample in mixed():
        row = kept[sample.sample_id]
        assert (row["crop"], row["split"], row["group"]) == (sample.data, sample.split, sample.group)
        assert (row["framing"], row["picture"], row["source"]) == ("raw", None, "made")
        assert row["votes_happiness"] == 9
    with pytest.raises(FaceSetError, match="dataset prepare"):
        read_split(tmp_path, "train")


def test_a_raw_set_of_single_labels_counts_by_label(tmp_path: Path) -> None:
    samples = [Sample(str(i), ("train", "test")[i % 2], label, None, None, b"x") for i, label in enumerate(["fear", "anger", "fear"])]
    card = import_raw(samples, tmp_path, "made")
    assert card.classes == ("anger", "fear")
    assert card.per_class == {"train": {"anger": 0, "fear": 2}, "test": {"anger": 1, "fear": 0}}


@pytest.mark.usefixtures("here")
def test_files_that_are_too_large_are_left_out_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [voted("film", "train", bytes(9000)), voted("a", "train", encoded(picture(0))), voted("b", "train", b"broken")]
    monkeypatch.setattr(raw_module, "LIMITS", replace(raw_module.LIMITS, max_bytes=8000))
    assert import_raw(samples, tmp_path / "raw", "made").undecodable == 1
    assert prepare(tmp_path / "raw", tmp_path / "set", "fake", 1).undecodable == 2
    assert read_split(tmp_path / "set", "train").ids == ("a",)
    with pytest.raises(FaceSetError, match="no picture of the set could be read"):
        import_raw(samples[:1], tmp_path / "none", "made")
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("here")
def test_only_raw_sets_are_prepared(tmp_path: Path) -> None:
    import_aligned([voted("a", "train", encoded(picture(0)))], tmp_path / "set", "made", "fake", 1)
    with pytest.raises(FaceSetError, match="aligned already"):
        prepare(tmp_path / "set", tmp_path / "again", "fake", 1)
    with pytest.raises(FaceSetError, match="not a face set"):
        prepare(tmp_path, tmp_path / "again", "fake", 1)
    assert not (tmp_path / "again").exists()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("damage", [b"", b"no parquet at all" * 10, None])
def test_a_damaged_raw_set_is_one_sentence_and_leaves_nothing(tmp_path: Path, damage: bytes | None) -> None:
    import_raw([voted("a", "train", encoded(picture(0)))], tmp_path / "raw", "made")
    file = tmp_path / "raw" / "faces-train.parquet"
    file.unlink() if damage is None else file.write_bytes(damage)
    with pytest.raises(FaceSetError, match="damaged split"):
        prepare(tmp_path / "raw", tmp_path / "set", "fake", 1)
    assert not (tmp_path / "set").exists()


@pytest.mark.usefixtures("here")
def test_batches_end_by_number_and_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def count(given: list[int]) -> list[int]:
        sizes.append(len(given))
        return [-number for number in given]

    monkeypatch.setattr(module, "BATCH_BYTES", 100)
    tasks = [({"sample_id": i, "crop": bytes(200 if i == 4 else 1)}, i) for i in range(9)]
    with module.face_workers("fake", 1) as pool:
        done = list(module.in_order(pool, count, tasks))
    assert sizes == [3, 2, 3, 1]
    assert [(row["sample_id"], result) for row, result in done] == [(i, -i) for i in range(9)]


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared development data are not here")
def test_ferplus_faces_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = cv2.getNumThreads()
    with zipfile.ZipFile(SHARED / "data" / "ferplus" / "FER2013Valid.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")][:60]
        samples = [voted(Path(name).name, "valid", archive.read(name)) for name in names]
    monkeypatch.setattr(module, "ProcessPoolExecutor", Here)
    detector = SHARED / "data" / "detectors" / "face_detection_yunet_2023mar.onnx"
    card = import_aligned(samples, tmp_path, "ferplus", f"yunet:{detector}", 1)
    cv2.setNumThreads(threads)
    assert card.counts == {"valid": 60}
    assert card.framed_by_points > 0.85
