"""The loop that keeps labels good, by its commands: a night, a person's corrections, a challenger, the gate, the next labels, and back.

On FER+ faces where they lie beside the repository, else on drawn ones.
"""

import csv
import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
import torch

from fer_core.faceset import VOTE_COLUMNS, read_card, read_rows, write_card, write_split
from fer_core.labels import EXPRESSIONS
from fer_core.models.store import DEFAULT, load_model, resolve_model, save_model
from tests.support.made_faces import made_faceset
from tests.support.processes import Commands

pytestmark = pytest.mark.long  # eight commands, three of which train

FERPLUS = Path(__file__).parents[3] / "shared" / "data" / "ferplus"
FACES = {"Training": 220, "PublicTest": 160}
QUICK = ["--epochs", "3", "--batch", "16", "--learning-rate", "0.03", "--bound", "speed=0.2", "--bound", "calibration=1"]
"""Speed is not judged on a machine that tests share."""
ORDER = [*(f"votes_{EXPRESSIONS[(place + 5) % 8]}" for place in range(8)), *VOTE_COLUMNS[8:]]
"""The column from which a spoiled row takes each of its votes."""


def weak(folder):
    """The shipped model, its weights shaken: there is much to learn again."""
    network, spec = load_model(resolve_model(DEFAULT))
    torch.manual_seed(0)
    shaken = {
        name: tensor + 1.2 * tensor.std() * torch.randn_like(tensor) if tensor.dim() > 1 else tensor
        for name, tensor in network.state_dict().items()
    }
    return save_model(folder, shaken, spec, {"name": "weak"})


def base(folder, run):
    """A small face set with splits to learn from and to judge by."""
    if not FERPLUS.is_dir():
        return made_faceset(folder / "good", {"train": 128, "valid": 96, "test": 48}, kind="single")
    layout = folder / "ferplus"
    layout.mkdir()
    for name in ("FER2013Train.zip", "FER2013Valid.zip"):
        (layout / name).symlink_to(FERPLUS / name)
    with (FERPLUS / "fer2013new.csv").open(newline="", encoding="utf-8") as table:
        head, *rows = csv.reader(table)
    rows.sort(key=lambda row: hashlib.sha256(row[1].encode()).hexdigest())
    with (layout / "fer2013new.csv").open("w", newline="", encoding="utf-8") as table:
        few = [[row for row in rows if row[0] == split][:count] for split, count in FACES.items()]
        csv.writer(table).writerows([head, *few[0], *few[1]])
    run("imported", "dataset", "import", "ferplus", layout, "--to", folder / "good", "--detector", "builtin")
    return folder / "good"


def spoiled(good, folder):
    """The same face set, but that what it teaches is all wrong."""
    folder.mkdir()

    def wrong(row):
        label = row["label"] and EXPRESSIONS[(EXPRESSIONS.index(row["label"]) + 3) % 8]
        return {**row, "label": label, **{name: row[other] for name, other in zip(VOTE_COLUMNS, ORDER, strict=True)}}

    card = read_card(good)
    written = {split: write_split(folder, split, map(wrong if split == "train" else dict, read_rows(good, split))) for split in card.counts}
    write_card(folder, replace(card, name="spoiled", counts=written, per_class={}, digests={}))
    return folder


def corrected(labels, to):
    """What a person would save: three faces have another expression, the rest is right."""
    entries = []
    for number, label in enumerate(labels):
        verdict = label["expression"] if number >= 3 else EXPRESSIONS[(EXPRESSIONS.index(label["expression"]) + 1) % 8]
        entries.append(
            {
                "image_sha256": label["image_sha256"],
                "image_uri": label["image_uri"],
                "box": [label["box_x"], label["box_y"], label["box_w"], label["box_h"]],
                "verdict": verdict,
                "previous_expression": label["expression"],
                "previous_model": label["model_digest"],
                "reviewed_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            }
        )
    whole = {"format": "ferflow corrections", "version": 1, "export_id": "0" * 16, "reviewer": "somebody", "corrections": entries}
    to.write_text(json.dumps(whole))
    return to


def current(root):
    """Rows of the newest labels, in one order."""
    found = duckdb.connect().sql(f"SELECT * FROM read_parquet('{root}/labels/**/*.parquet', hive_partitioning = true)")
    return [dict(zip(found.columns, row, strict=True)) for row in found.order("image_uri, face_index, labeled_at").fetchall()]


@pytest.fixture(scope="module")
def loop(two_pictures, tmp_path_factory):
    """Every command of the loop, in order, and what it answered."""
    folder = tmp_path_factory.mktemp("loop")
    (folder / "home").mkdir()
    commands = Commands(folder / "home")
    root, models = folder / "labels", folder / "models"
    said = {"folder": folder, "root": root, "models": models}

    def run(name, *words):
        ended = commands.run(*words, "--json", timeout=400)
        assert ended.code == 0, ended.err
        said[name] = ended.json

    night = ["label", two_pictures, "--to", root, "--model", models, "--keep-crops", "--workers", 2]
    good = base(folder, run)
    run("start", "models", "promote", weak(folder / "weak").path, "--to", models)
    run("first night", *night, "--run-id", "first")
    said["before"] = current(root)
    run("review", "review", "import", corrected(said["before"], folder / "corrections.json"), "--to", root)
    run("retrained", "retrain", models, "--faceset", good, "--reviewed", root, *QUICK)
    run("relabelled", "relabel", root, "--model", models, "--workers", 1, "--run-id", "again")
    run("second night", *night, "--run-id", "second")
    run("spoiled", "retrain", models, "--faceset", spoiled(good, folder / "spoiled"), *QUICK)
    run("verified", "verify", root)
    run("back", "models", "rollback", models)
    return said


def test_the_better_model_was_promoted(loop):
    done = loop["retrained"]
    assert done["passed"], done["reasons"]
    assert done["promoted"]
    assert done["champion"]["name"] == "weak"
    assert done["reported"]["challenger"]["accuracy"] > done["reported"]["champion"]["accuracy"]


def test_it_learnt_from_what_people_said(loop):
    assert loop["review"]["new"] == len(loop["before"])
    card = json.loads((loop["models"] / "reviewed" / "faceset.json").read_text())
    assert sum(card["counts"].values()) == len(loop["before"])


def test_the_next_labels_are_the_new_models(loop):
    digest = loop["retrained"]["challenger"]["digest"]
    again = [row for row in current(loop["root"]) if row["run_id"] == "again"]
    assert {row["model_digest"] for row in again} == {digest}
    assert [row["face_id"] != "" for row in again] == [True] * len(loop["before"])
    assert loop["relabelled"]["changes"]["faces"] == len(loop["before"])


def test_the_next_night_reads_no_photograph_again(loop):
    assert loop["second night"]["unchanged"] == loop["second night"]["listed"] == 2


def test_a_spoiled_training_set_is_refused_and_it_is_said_why(loop):
    done = loop["spoiled"]
    assert not done["passed"]
    assert not done["promoted"]
    assert any(reason.startswith("accuracy: ") for reason in done["reasons"])
    assert done["champion"]["digest"] == loop["retrained"]["challenger"]["digest"]
    page = (loop["models"] / done["challenger"]["name"] / "verdict.md").read_text()
    assert "kept, not promoted" in page
    assert "accuracy: " in page


def test_everything_is_there_and_there_is_a_way_back(loop):
    assert loop["verified"]["ok"]
    assert loop["back"]["name"] == "weak"
