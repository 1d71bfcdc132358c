import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_core.errors import FaceSetError
from fer_core.faceset import face_workers as module
from fer_core.faceset import read_card, read_rows, read_split
from fer_core.faceset.importers.raw import LIMITS, import_raw
from fer_core.faceset.importers.samples import Sample
from fer_core.faceset.prepare import import_aligned, prepare
from tests.support.made_faces import encoded, tinted
from tests.support.prepared_sets import Here, columns, picture, prepared, small_batches, voted

SHARED = Path(os.environ.get("FERFLOW_SHARED", Path(__file__).resolve().parents[5] / "shared"))


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
    at_once = import_aligned(mixed(), tmp_path / "once", "made", "fake", 1, open_pool=small_batches)
    raw = import_raw(mixed(), tmp_path / "raw", "made")
    later = prepare(tmp_path / "raw", tmp_path / "later", "fake", 3, open_pool=small_batches)
    assert raw.raw
    assert not later.raw
    assert at_once == later == read_card(tmp_path / "later")
    assert at_once.digests == later.digests  # the very same bytes
    for split in at_once.counts:
        assert columns(tmp_path / "once", split) == columns(tmp_path / "later", split)
    assert prepare(tmp_path / "raw", tmp_path / "later", "fake", 1, open_pool=small_batches) == later  # again, over the first


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
def test_files_that_are_too_large_are_left_out_and_counted(tmp_path: Path) -> None:
    samples = [
        voted("film", "train", bytes(LIMITS.max_bytes + 1)),
        voted("a", "train", encoded(picture(0))),
        voted("b", "train", b"broken"),
    ]
    assert import_raw(samples, tmp_path / "raw", "made").undecodable == 1
    assert prepare(tmp_path / "raw", tmp_path / "set", "fake", 1).undecodable == 2
    assert read_split(tmp_path / "set", "train").ids == ("a",)
    with pytest.raises(FaceSetError, match="no image of the set could be read"):
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
def test_batches_end_by_number_and_by_size() -> None:
    sizes: list[int] = []

    def count(given: list[int]) -> list[int]:
        sizes.append(len(given))
        return [-number for number in given]

    tasks = [({"sample_id": i, "crop": bytes(200 if i == 4 else 1)}, i) for i in range(9)]
    with small_batches("fake", 1, batch_bytes=100) as pool:
        done = list(module.ordered_map(pool, count, tasks))
    assert sizes == [3, 2, 3, 1]
    assert [(row["sample_id"], result) for row, result in done] == [(i, -i) for i in range(9)]


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared development data are not here")
def test_ferplus_faces_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = cv2.getNumThreads()
    with zipfile.ZipFile(SHARED / "data" / "ferplus" / "FER2013Valid.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")][:30]
        samples = [voted(Path(name).name, "valid", archive.read(name)) for name in names]
    monkeypatch.setattr(module, "ProcessPoolExecutor", Here)
    detector = SHARED / "data" / "detectors" / "face_detection_yunet_2023mar.onnx"
    card = import_aligned(samples, tmp_path, "ferplus", f"yunet:{detector}", 1)
    cv2.setNumThreads(threads)
    assert card.counts == {"valid": 30}
    assert card.framed_by_points > 0.85
