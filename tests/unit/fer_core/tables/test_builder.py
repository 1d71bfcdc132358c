import hashlib
import io
import zlib
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.quality_thresholds import QualityRule
from fer_core.run.shard_job import ImageRef
from fer_core.tables.builder import ImageFacts, face_id, faces_table, images_table, labels_table, part_metadata
from fer_core.tables.parquet_writer import write_part
from fer_core.tables.schema import FACES, IMAGES, LABELS
from fer_core.types import Faces, Quality
from tests.support.fakes import STARTED_US, FakePredictor, config

RUN = config("/labels")


def some_facts(uri, count):
    spread = np.arange(count, dtype=np.float32)
    boxes = np.stack([spread, spread + 1, spread + 20, spread + 31], axis=1)
    points = np.arange(count * 10, dtype=np.float32).reshape(count, 5, 2)
    quality = Quality(spread + 40, spread / 100, 1 - spread / 100, spread - 5, spread - 6, spread - 7)
    faces = Faces(boxes, points, (0.9 - spread / 100).astype(np.float32))
    status = "labeled" if count else "no_face"
    return ImageFacts(ImageRef(uri, 100, '"tag"', 5), status, None, hashlib.sha256(uri.encode()).hexdigest(), 640, 480, faces, quality)


def some_predictions(count):
    return FakePredictor().predict(np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8))


def mark(uri, index):
    return zlib.crc32(f"{uri} {index}".encode()) % 997


def test_labels_have_the_schema_and_each_value_its_column():
    predictions = some_predictions(2)
    table = labels_table(RUN, [some_facts("/a.png", 2)], predictions)
    assert table.schema.equals(LABELS, check_metadata=True)
    row = table.to_pylist()[1]
    assert (row["image_uri"], row["face_index"]) == ("/a.png", 1)
    assert (row["box_x"], row["box_y"], row["box_w"], row["box_h"]) == (1, 2, 20, 30)
    points = [row[name] for name in table.column_names if name.split("_")[0] in {"left", "right", "nose", "mouth"}]
    assert points == list(range(10, 20))
    assert (row["face_size_px"], row["yaw_deg"], row["pitch_deg"], row["roll_deg"]) == (41, -4, -5, -6)
    assert row["detection_score"] == pytest.approx(0.89)
    probabilities = [row[f"p_{name}"] for name in ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")]
    assert probabilities == pytest.approx(predictions.probabilities[1])
    assert row[f"p_{row['expression']}"] == row["confidence"]
    assert (row["run_id"], row["detector"], row["pipeline_digest"]) == ("run-a", "fake-1", RUN.pipeline_digest)
    assert row["labeled_at"].timestamp() == STARTED_US / 1e6
    assert row["face_id"] == face_id(row["image_sha256"], 1, RUN.pipeline_digest)


def test_a_label_needs_review_by_the_models_rule_or_by_that_of_quality():
    """Face by face, in two images; the label itself stays as it is."""
    good = np.array([80, 0.7, 0.9, 0, 0, 0], np.float32)
    looks = [good, good * [0.1, 1, 1, 1, 1, 1], good, good * [1, 1, 0.5, 1, 1, 1], good]
    unsure = np.array([False, False, True, True, False])
    predictions = replace(some_predictions(5), needs_review=unsure)
    parts = [Quality(*np.array(looks[rows], np.float32).T) for rows in (slice(0, 2), slice(2, 5))]
    facts = [replace(some_facts(uri, len(part.yaw_deg)), quality=part) for uri, part in zip(("/a.png", "/b.png"), parts, strict=True)]
    table = labels_table(RUN, facts, predictions)
    assert table["needs_review"].to_pylist() == [False, True, True, True, False]
    lenient = labels_table(replace(RUN, quality_rule=QualityRule(0, 0, 0, 180)), facts, predictions)
    assert lenient["needs_review"].to_pylist() == unsure.tolist()
    for name in ("expression", "confidence", "entropy", "face_size_px", "sharpness"):
        assert table[name].equals(lenient[name])


def test_all_labels_of_a_damaged_image_need_review():
    facts = [some_facts("/a.png", 2), replace(some_facts("/b.png", 3), reason="damaged JPEG image"), some_facts("/c.png", 0)]
    lenient = replace(RUN, quality_rule=QualityRule(0, 0, 0, 180))
    sure = replace(some_predictions(5), needs_review=np.zeros(5, np.bool_))
    assert labels_table(lenient, facts, sure)["needs_review"].to_pylist() == [False, False, True, True, True]
    assert images_table(RUN, facts)["reason"].to_pylist() == [None, "damaged JPEG image", None]


def test_images_have_the_schema_and_say_why():
    lost = ImageFacts(ImageRef("/b.png", None, None, None), "missing", "the file is not there")
    table = images_table(RUN, [lost, some_facts("/a.png", 2)])
    assert table.schema.equals(IMAGES, check_metadata=True)
    first, second = table.to_pylist()
    assert (first["image_uri"], first["status"], first["n_faces"], first["width"], first["etag"]) == ("/a.png", "labeled", 2, 640, '"tag"')
    assert (second["status"], second["reason"], second["image_sha256"], second["bytes"]) == ("missing", "the file is not there", None, None)
    assert second["n_faces"] == 0


def test_crops_have_the_schema():
    table = faces_table(RUN, [some_facts("/b.png", 1), some_facts("/a.png", 1)], [b"of b", b"of a"])
    assert table.schema.equals(FACES, check_metadata=True)
    assert [(row["image_uri"], row["crop_png"]) for row in table.to_pylist()] == [("/a.png", b"of a"), ("/b.png", b"of b")]


def test_no_rows_are_tables_too():
    for table, schema in (
        (labels_table(RUN, [some_facts("/a.png", 0)], some_predictions(0)), LABELS),
        (faces_table(RUN, [], []), FACES),
        (images_table(RUN, []), IMAGES),
    ):
        assert table.num_rows == 0
        back = pq.read_schema(pa.BufferReader(write_part(table, {})))
        assert back.equals(schema, check_metadata=True)


def test_counts_that_differ_are_refused():
    with pytest.raises(ValueError, match="2 faces, 1 predictions"):
        labels_table(RUN, [some_facts("/a.png", 2)], some_predictions(1))


@pytest.mark.parametrize(("status", "count"), [("labeled", 0), ("no_face", 1), ("unreadable", 1)])
def test_status_and_faces_agree(status, count):
    with pytest.raises(ValueError, match="status"):
        replace(some_facts("/a.png", count), status=status)


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(st.text(min_size=1, max_size=5), st.integers(0, 3), max_size=6), st.randoms())
def test_rows_are_sorted_and_follow_their_image(counts, random):
    def labelled(uris):
        facts = [some_facts(uri, counts[uri]) for uri in uris]
        number = sum(counts.values())
        # each answer carries its own position, to see whether it stays with its face
        marks = np.array([mark(uri, index) for uri in uris for index in range(counts[uri])], np.float32)
        answers = replace(FakePredictor().predict(np.zeros((number, 4, 4, 3), np.uint8)), entropy=marks)
        return labels_table(RUN, facts, answers), images_table(RUN, facts)

    uris = list(counts)
    straight = labelled(uris)
    random.shuffle(uris)
    shuffled = labelled(uris)
    assert straight[0].equals(shuffled[0])
    assert straight[1].equals(shuffled[1])
    rows = straight[0].to_pylist()
    assert [(row["image_uri"], row["face_index"]) for row in rows] == sorted((uri, i) for uri in counts for i in range(counts[uri]))
    assert all(row["entropy"] == mark(row["image_uri"], row["face_index"]) for row in rows)
    assert straight[1]["image_uri"].to_pylist() == sorted(counts)


def test_face_ids_tell_faces_apart():
    ids = {face_id(image, index, pipeline) for image in ("aa", "ab") for index in (1, 11) for pipeline in ("p", "q")}
    assert len(ids) == 8
    assert face_id("aa", 1, "p") == hashlib.sha256(b"aa/1/p").hexdigest()


def test_a_part_says_what_it_is_and_is_the_same_each_time():
    table = labels_table(RUN, [some_facts("/a.png", 2)], some_predictions(2))
    data = write_part(table, part_metadata(RUN))
    assert data == write_part(table, dict(reversed(part_metadata(RUN).items())))
    file = pq.ParquetFile(io.BytesIO(data))
    assert file.schema_arrow.remove_metadata().equals(LABELS, check_metadata=True)
    group = file.metadata.row_group(0)
    assert {group.column(i).compression for i in range(group.num_columns)} == {"ZSTD"}
    assert all(group.column(i).is_stats_set for i in range(group.num_columns))
    names = [LABELS.names[column.column_index] for column in group.sorting_columns]
    assert names == ["image_uri", "face_index"]
    said = {key.decode(): value.decode() for key, value in file.metadata.metadata.items() if key.startswith(b"fer.")}
    assert said == {
        "fer.schema_version": "1",
        "fer.run_id": "run-a",
        "fer.pipeline_digest": RUN.pipeline_digest,
        "fer.model_digest": "0" * 64,
        "fer.detector": "fake-1",
        "fer.purpose": "tests",
    }
    ids = [int(field.metadata[b"PARQUET:field_id"]) for field in file.schema_arrow]
    assert ids == list(range(1, len(LABELS) + 1))
