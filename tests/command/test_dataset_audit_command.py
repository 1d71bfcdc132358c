"""`ferflow dataset audit`, `ferflow dataset correct`, `ferflow review agreement` and `ferflow evaluate --slices` as people use them."""

import json
import re

import pytest

from flows.cli import main
from tests.support import made_faces, reviews


@pytest.fixture
def run(monkeypatch, capsys):
    """`ferflow ...` in this process: exit code, standard output, standard error."""
    monkeypatch.setattr(main.signals, "listen", lambda: None)

    def call(*words):
        try:
            code = main.main([str(word) for word in words])
        except SystemExit as error:
            code = int(error.code or 0)
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    made_faces.made_faceset(folder / "set", {"train": 24, "test": 16}, "single")
    made_faces.small_model(folder / "model")
    return folder


def test_from_the_audit_to_a_corrected_set(run, made, tmp_path):
    words = ("dataset", "audit", made / "set", "--model", made / "model", "--folds", 3, "--to", tmp_path / "audit")
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert re.search(r"^40 labels of train, test \([0-9a-f]{12}\), 3 heads on the features of model", out)
    assert out.endswith(f"wrote {tmp_path}/audit/audit.json\n")
    code, out, err = run(*words, "--top", 2, "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert (report["faces"], report["folds"], report["protocol"], report["trained_on"]) == (40, 3, "majority", [])
    assert len(report["shown"]) == 2
    assert len(report["confident_joint"]) == len(report["classes"]) == 8

    embedded = re.search(r'<script type="application/json" id="export">(.*)</script>', (tmp_path / "audit" / "review.html").read_text())
    task = json.loads(embedded[1])
    answers = [
        {
            **{name: face[name] for name in ("image_sha256", "image_uri", "box")},
            "verdict": "not_a_face",
            "previous_expression": face["expression"],
            "previous_model": face["model_digest"],
            "reviewed_at": "2026-02-01T10:00:00.000Z",
        }
        for face in task["faces"]
    ]
    file = reviews.written(tmp_path / "corrections.json", reviews.corrections(answers, task["export_id"]))
    code, out, err = run("dataset", "correct", made / "set", file, "--to", tmp_path / "new")
    assert (code, err) == (0, "")
    assert out == f"wrote {tmp_path}/new: 0 labels changed, 0 confirmed, 2 faces left out\n"
    code, out, _ = run("dataset", "audit", tmp_path / "new", "--model", made / "model", "--json")
    assert (code, json.loads(out)["faces"]) == (0, 38)


def test_a_model_that_was_trained_on_the_labels_is_named(run, made, tmp_path):
    from fer_core.faceset import faceset_digest

    made_faces.small_model(tmp_path / "model")
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    card["sources"] = {"facesets": [faceset_digest(made / "set")]}
    (tmp_path / "model" / "card.json").write_text(json.dumps(card))
    code, _, err = run("dataset", "audit", made / "set", "--model", tmp_path / "model")
    assert code == 0
    assert "warning: model was trained on the train split of this face set: it has learned wrong labels, too" in err
    code, out, err = run("dataset", "audit", made / "set", "--model", tmp_path / "model", "--split", "test", "--json")
    assert (code, err, json.loads(out)["trained_on"]) == (0, "", [])


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["dataset", "audit", "{set}", "--folds", "1"], "--folds is a number from 2 to 50: 1", 2),
        (["dataset", "audit", "{set}", "--top", "6000"], "--top is a number of faces from 1 to 5,000: 6000", 2),
        (["dataset", "audit", "{set}", "--to", "{set}"], "neither empty nor an earlier audit", 1),
        (["dataset", "audit", "{set}/none"], "not a face set", 1),
        (["dataset", "correct", "{set}", "{set}/none.json", "--to", "{set}"], "not empty", 1),
        (["review", "agreement", "{set}/none"], "no run has been committed under", 1),
    ],
)
def test_one_line_says_what_is_wrong(run, made, words, said, code):
    found, out, err = run(*(word.format(set=made / "set") for word in words))
    assert (found, out) == (code, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_slices(run, made):
    words = ("evaluate", made / "set", "--model", made / "model")
    code, out, _ = run(*words, "--json")
    assert (code, "slices" in json.loads(out)) == (0, False)
    code, out, _ = run(*words, "--slices", "--json")
    parts = json.loads(out)["slices"]
    assert code == 0
    assert [part["faces"] for part in parts if part["by"] == "colour"] == [16]
    assert set(parts[0]["intervals"]) == {"share", "accuracy", "balanced_accuracy", "ece"}
    code, out, _ = run(*words, "--slices")
    assert code == 0
    assert out.splitlines()[-1].startswith("colour: grey")


def test_agreement(run, tmp_path):
    reviews.night(tmp_path / "root", reviews.photographs(tmp_path / "photos", 3))
    code, out, err = run("review", "agreement", tmp_path / "root")
    assert (code, err) == (0, "")
    assert out.startswith("there is no review yet\n")
    for number, (name, verdicts) in enumerate({"Anna": ["fear", "anger", "fear"], "Bert": ["fear", "anger", "anger"]}.items()):
        rows = zip(reviews.labels_of(tmp_path / "root"), verdicts, strict=True)
        entries = [reviews.correction(row, verdict, f"2026-02-0{number + 1}T10:00:00.000Z") for row, verdict in rows]
        file = reviews.written(tmp_path / "corrections.json", reviews.corrections(entries, reviewer=name))
        assert run("review", "import", file, "--to", tmp_path / "root")[0] == 0
    code, out, err = run("review", "agreement", tmp_path / "root")
    assert (code, err) == (0, "")
    assert "66.7% of the answers alike, 3 faces  Anna and Bert" in out
    code, out, _ = run("review", "agreement", tmp_path / "root", "--json")
    report = json.loads(out)
    assert report["kappas"][0]["reviewers"] == ["Anna", "Bert"]
    assert report["kappas"][0]["value"] == pytest.approx(0.4)
    assert report["labels"]["n"] == 3
