"""Every document that ferflow keeps or is given, made odd in every way that JSON allows: one clear line, or an answer, and nothing else.

A document is changed at each of its values (another kind, null, a number without bounds, brackets without end, left out, twice), and the
functions that the commands call read it.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from fer_core.commit.lease import lease, live_claims
from fer_core.commit.manifest import Manifest
from fer_core.commit.plan import read_plan
from fer_core.commit.publish import publish, read_manifest, staged_receipts, unfinished_shards
from fer_core.commit.reader import newest_run, read_images
from fer_core.commit.verify import verify
from fer_core.detect.builtin.weights import SHIPPED, read_detector
from fer_core.errors import FerflowError
from fer_core.evaluation import training_history
from fer_core.export.current_file import export_current
from fer_core.faceset import faceset_digest, read_card, read_split
from fer_core.faceset.card import CARD as FACESET_CARD
from fer_core.hashing import file_sha256
from fer_core.models.card import CARD, WEIGHTS
from fer_core.models.registry import champion, promote, rollback
from fer_core.models.store import read_weights, resolve_model
from fer_core.monitoring.reference import read_reference, reference_file
from fer_core.monitoring.runs import history as drift_history
from fer_core.planning.incremental import load_processed_index
from fer_core.relabel.survey import survey
from fer_core.review.corrections import read_corrections
from fer_core.review.history import FOLDER, history
from fer_core.review.incoming import import_reviews
from fer_core.review.reviewed import reviewed_faces
from fer_core.run.configuration import Answering
from fer_core.storage.paths import begun_file, manifest_file, plan_file, receipt_file
from fer_core.storage.store import open_store
from fer_core.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from fer_core.training.config import TrainConfig
from flows.cli.model_page import list_page, page
from flows.cli.train import _written
from tasks.clusters.text_syntax import from_text
from tests.support import fakes, reviews
from tests.support.made_faces import QUICK, made_faceset, small_model
from tests.support.odd_values import check, odd, written


@pytest.fixture
def run(tmp_path):
    return fakes.keeping_crops(fakes.config(tmp_path / "labels"))


@pytest.fixture
def pictures(tmp_path):
    return fakes.refs(fakes.write_pictures(tmp_path / "photos", [1, 2]))


def at(run: Any, file: str) -> Callable[[bytes], object]:
    """Writes a file of the run's root, which need not outlive a loss of power."""
    return (Path(run.root) / file).write_bytes


def test_manifests(run, pictures):
    fakes.label(run, pictures)
    store = open_store(run.root)
    document = json.loads(store.read_bytes(manifest_file(run.run_id)))
    check(
        document,
        at(run, manifest_file(run.run_id)),
        lambda: read_manifest(store, run.run_id).run_config(),
        lambda: load_processed_index(store, run.source, run.pipeline_digest),
    )


def test_manifests_that_are_exported_and_watched(run, pictures, tmp_path):
    fakes.label(run, pictures)
    store, target = open_store(run.root), open_store(str(tmp_path / "export"))
    document = json.loads(store.read_bytes(manifest_file(run.run_id)))
    for name in ("config", "parts", "statuses", "expressions", "seconds"):
        for new in (None, [], {}, "text", 3, {"a": None}, [None]):
            at(run, manifest_file(run.run_id))(json.dumps({**document, name: new}).encode())
            for read in (
                lambda: verify(store),
                lambda: survey(store, Answering("1" * 64)),
                lambda: export_current(store, target),
                lambda: drift_history(store),
                lambda: read_manifest(store, run.run_id).run_config(),
            ):
                with suppress(FerflowError):
                    read()


def test_receipts_and_what_was_begun(run, pictures):
    receipts = fakes.stage_run(run, pictures, 2)
    store = open_store(run.root)

    def answered() -> None:
        found = staged_receipts(store, run.run_id)
        unfinished_shards(read_plan(store, run.run_id), found)

    document = receipts[0].to_json()
    document["parts"] = [dict(part) for part in document["parts"]]
    check(document, at(run, receipt_file(run.run_id, receipts[0].part)), answered)
    store.write_bytes(receipt_file(run.run_id, receipts[0].part), written(document))
    for data in (b"", b"[" * 100_000, b"{}", b"[null]", b'["../../x"]', b"[[]]", b'["labels/a"'):
        store.write_bytes(begun_file(run.run_id), data)
        with pytest.raises(FerflowError):
            publish(store, run, receipts)


def test_plans(run, pictures):
    fakes.stage_run(run, pictures, 2)
    store = open_store(run.root)
    file = Path(run.root) / plan_file(run.run_id)
    plan = pq.read_table(file)
    said = {key.decode(): value.decode() for key, value in plan.schema.metadata.items() if key.startswith(b"fer.")}

    def placed(data: bytes) -> None:
        pq.write_table(plan.replace_schema_metadata({**said, "fer.config": data}), file)

    check(json.loads(said["fer.config"]), placed, lambda: read_plan(store, run.run_id))
    tables = [
        plan.replace_schema_metadata({}),
        plan.replace_schema_metadata({**said, "fer.listed": "many"}),
        plan.replace_schema_metadata({**said, "fer.listed": "9" * 5000}),
        plan.select(["shard"]).replace_schema_metadata(said),
        plan.set_column(0, "image_uri", pa.array([None] * len(plan), pa.string())).replace_schema_metadata(said),
        plan.set_column(0, "image_uri", pa.array([[1]] * len(plan))).replace_schema_metadata(said),
        plan.set_column(4, "shard", pa.array(["x"] * len(plan))).replace_schema_metadata(said),
        plan.set_column(4, "shard", pa.array([2**40] * len(plan))).replace_schema_metadata(said),
    ]
    for table in tables:
        pq.write_table(table, file)
        with pytest.raises(FerflowError, match="the plan of run run-a cannot be read"):
            read_plan(store, run.run_id)


def test_parts_of_other_columns(run, pictures, tmp_path):
    """Behind a manifest that promises exactly these bytes."""
    manifest = fakes.label(run, pictures)
    store, target = open_store(run.root), open_store(str(tmp_path / "export"))
    assert isinstance(manifest, Manifest)
    readers: tuple[Callable[[], object], ...] = (
        lambda: verify(store),
        lambda: load_processed_index(store, run.source, run.pipeline_digest),
        lambda: read_images(store, newest_run(store)),
        lambda: survey(store, Answering("1" * 64)),
        lambda: export_current(store, target),
        lambda: drift_history(store),
        lambda: reviewed_faces(store),
    )
    for part in manifest.parts:
        before = store.read_bytes(part.path)
        rows = pq.read_table(pa.BufferReader(before))
        for at, name in enumerate(rows.column_names):
            kinds = (None, pa.nulls(len(rows)), *(pa.array([value] * len(rows)) for value in ([1], 2**60, b"\xff")))
            new = kinds[at % len(kinds)]  # each column in one of these ways
            sink = pa.BufferOutputStream()
            pq.write_table(rows.drop([name]) if new is None else rows.set_column(at, name, new), sink)
            _promise(store, manifest, part.path, bytes(sink.getvalue()))
            for read in readers:
                with suppress(FerflowError):
                    read()
        _promise(store, manifest, part.path, before)


def _promise(store: Any, manifest: Manifest, path: str, data: bytes) -> None:
    import hashlib

    store.write_bytes(path, data)
    value = json.loads(manifest.to_bytes())
    for part in value["parts"]:
        if part["path"] == path:
            part |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    store.write_bytes(manifest_file(manifest.run_id), json.dumps(value).encode())
    for kept in store.list_files("_meta/drift"):
        store.remove_file(kept)


def test_leases(run):
    store = open_store(run.root)
    document = {
        "token": "f" * 16,
        "work": "run x",
        "process": {"host": "far", "place": "elsewhere", "pid": 1, "started": "1"},
        "since": "2026-01-01",
        "held": True,
        "beat": 3,
    }

    def held() -> None:
        with lease(store, "a test"):
            pass

    path = f"_meta/leases/{'f' * 16}.json"
    check(document, lambda data: store.write_bytes(path, data), lambda: live_claims(store))
    for data in (b"[" * 100_000, b"null", b"{}", written({**document, "held": "yes"}), written({**document, "process": []})):
        store.write_bytes(path, data)
        with pytest.raises(FerflowError, match="a lease cannot be read; remove "):
            held()


def test_references_of_drift(run, pictures):
    fakes.label(run, pictures)
    store = open_store(run.root)
    drift_history(store)
    from fer_core.monitoring.runs import choose_reference

    choose_reference(store, run.run_id)
    path = reference_file(run.model_digest)
    document = json.loads(store.read_bytes(path))
    check(document, lambda data: store.write_bytes(path, data), lambda: read_reference(store, run.model_digest))
    for new in (None, [], "text", 2**62, {"a": None}):
        store.write_bytes(path, written({**document, "profile": {**document["profile"], "expression": new}}))
        with pytest.raises(FerflowError, match="choose another reference run"):
            drift_history(store)


def test_cards_of_models(tmp_path):
    ref = small_model(tmp_path / "models" / "a")
    document = {
        **ref.card,
        "trained_on": [{"name": "set", "counts": {"train": 3}, "detector": "d", "framed_by_points": 0.5}],
        "development": {"faces": 3, "protocol": "majority", "accuracy": 0.5, "macro_f1": 0.5, "epoch": 1},
        "figures": {"majority": {"split": "valid", "n": 3, "accuracy": 0.5, "balanced_accuracy": 0.5, "macro_f1": 0.5, "ece": 0.1}},
        "known_gaps": ["none"],
        "multiply_adds": 5,
    }

    def shown() -> None:
        found = resolve_model(str(ref.path))
        page(found, 3, "a")
        list_page([found])

    check(document, (ref.path / CARD).write_bytes, shown, lambda: read_weights(resolve_model(str(ref.path))))


def test_specs_of_models_and_detectors(tmp_path):
    ref = small_model(tmp_path / "a")
    tensors = load_file(ref.path / WEIGHTS)

    def placed(data: bytes) -> None:
        with suppress(UnicodeDecodeError):
            save_file(tensors, ref.path / WEIGHTS, metadata={"spec": data.decode()})
        (ref.path / CARD).write_text(json.dumps({**ref.card, "digest": file_sha256(ref.path / WEIGHTS)}), "utf-8")

    check(ref.card["spec"], placed, lambda: read_weights(resolve_model(str(ref.path))))
    config, found = read_detector(SHIPPED)
    file = tmp_path / "detector.safetensors"

    def detector(data: bytes) -> None:
        with suppress(UnicodeDecodeError):
            save_file({name: torch.from_numpy(tensor) for name, tensor in found.items()}, file, metadata={"config": data.decode()})

    document = {name: list(value) if isinstance(value, tuple) else value for name, value in config.to_json().items()}
    check(document, detector, lambda: read_detector(file))


def test_promotions(tmp_path):
    models = tmp_path / "models"
    ref = small_model(models / "a")
    promote(models, ref, champion(models).digest, "because")
    file = models / "promotions" / "000001.json"

    def back() -> None:
        rollback(models, "to see")
        (models / "promotions" / "000002.json").unlink()

    check(json.loads(file.read_bytes()), file.write_bytes, lambda: champion(models), back)


def test_cards_of_face_sets(tmp_path):
    folder = made_faceset(tmp_path / "set", {"train": 2})
    document = json.loads((folder / FACESET_CARD).read_bytes())
    check(
        document,
        (folder / FACESET_CARD).write_bytes,
        lambda: read_card(folder),
        lambda: faceset_digest(folder),
        lambda: read_split(folder, "train"),
    )


def test_histories_and_checkpoints(tmp_path):
    record = training_history.EpochRecord(1, 0.5, 0.5, 0.5, 0.5, 0.1, 1.0)
    file = tmp_path / "history.jsonl"
    training_history.append(file, record)
    document = json.loads(file.read_bytes())
    check(document, lambda data: file.write_bytes(data + b"\n"), lambda: training_history.read(file))
    tensors = {"a": torch.arange(3.0)}
    for name, other in (("progress", {"identity": "{}"}), ("identity", {"progress": json.dumps({"epochs": 1})})):
        save_checkpoint(tmp_path / "state", tensors, Progress(1, 1, 0.5, 0.5), {})

        def placed(data: bytes, name: str = name, other: dict[str, str] = other) -> None:
            with suppress(UnicodeDecodeError):
                save_file(tensors, tmp_path / "state.safetensors", metadata={**other, name: data.decode()})

        document = {"epochs": 1, "best_epoch": 1, "best_accuracy": 0.5, "best_loss": 0.5} if name == "progress" else {}
        check(document, placed, lambda: load_checkpoint(tmp_path / "state", {"a": torch.zeros(3)}, {}))


def test_configurations_of_training(tmp_path):
    file = tmp_path / "config.json"
    check(json.loads(json.dumps(QUICK.to_json())), file.write_bytes, lambda: TrainConfig.from_json(_written(str(file))))


def test_clusters(tmp_path):
    file = tmp_path / "cluster.json"
    for document in ({"kind": "local", "processes": {"minimum": 1, "maximum": 2}}, {"kind": "address", "address": "tcp://a:1"}):
        check(document, file.write_bytes, lambda: from_text(str(file)))


def test_files_of_reviews(tmp_path):
    root = tmp_path / "root"
    reviews.night(root, reviews.photographs(tmp_path / "photos", 1))
    store, row = open_store(str(root)), reviews.labels_of(root)[0]
    file = tmp_path / "corrections.json"
    own = reviews.corrections([reviews.correction(row, "fear")])
    check(own, file.write_bytes, lambda: read_corrections(file.read_bytes(), "file"))
    data = {**reviews.correction(row, "fear"), "export_id": "0" * 16}
    result = {"type": "choices", "from_name": "expression", "value": {"choices": ["fear"]}}
    annotation = {"result": [result], "completed_by": {"email": "a@b"}, "created_at": "2026-02-01T10:00:00Z", "was_cancelled": False}
    studio = [{"id": 1, "data": data, "annotations": [annotation]}]
    check(studio, file.write_bytes, lambda: read_corrections(file.read_bytes(), "file"))
    for document in odd(own):
        file.write_bytes(document)
        with suppress(FerflowError):
            import_reviews(store, file)
            break
    file.write_bytes(written(own))
    import_reviews(store, file)
    (kept,) = [path for path in store.list_files(FOLDER) if path.endswith(".parquet")][:1]
    rows = pq.read_table(Path(root) / kept)
    for at, name in enumerate(rows.column_names):
        for new in (None, pa.nulls(len(rows)), pa.array([[1]] * len(rows)), pa.array([float("nan")] * len(rows))):
            pq.write_table(rows.drop([name]) if new is None else rows.set_column(at, name, new), Path(root) / kept)
            with suppress(FerflowError):
                reviewed_faces(store)
    pq.write_table(rows.drop(["verdict"]), Path(root) / kept)
    with pytest.raises(FerflowError, match=r"the reviews in .* are damaged"):
        history(store)
