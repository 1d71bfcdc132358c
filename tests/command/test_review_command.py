"""`ferflow review` and `ferflow dataset import reviewed` as people use them."""

import json
from pathlib import Path

import pytest

from flows.cli import main
from tests.support import fakes, reviews


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


@pytest.fixture
def root(tmp_path):
    reviews.night(tmp_path / "root", reviews.photographs(tmp_path / "photos", 4))
    return tmp_path / "root"


@pytest.fixture
def corrected(root, tmp_path):
    entries = [
        reviews.correction(row, verdict) for row, verdict in zip(reviews.labels_of(root)[:3], ["fear", "anger", "unsure"], strict=True)
    ]
    return reviews.written(tmp_path / "corrections.json", reviews.corrections(entries))


def test_out_in_and_into_a_face_set(run, root, corrected, tmp_path):
    code, out, err = run("review", "export", root, "--to", tmp_path / "out", "--budget", 3, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["asked"], told["faces"], told["gone"]) == (3, 4, 0)
    assert [Path(file).name for file in told["files"]] == ["review.html", "tasks.json", "label-studio.xml"]
    assert all(Path(file).is_file() for file in told["files"])

    code, out, err = run("review", "import", corrected, "--to", root)
    assert (code, err) == (0, "")
    assert out.startswith("3 reviews (3 new): ")
    assert out.endswith("3 have their face\n")
    before = fakes.tree(root)
    code, out, err = run("review", "import", corrected, "--to", root, "--json")
    assert (code, json.loads(out)["already_imported"], fakes.tree(root)) == (0, True, before)

    code, out, err = run("review", "export", root, "--to", tmp_path / "out")
    assert (code, err) == (0, "")
    assert out.startswith(f"wrote {tmp_path}/out/review.html: 1 of 1 faces; 3 were reviewed before\n")

    code, out, err = run("dataset", "import", "reviewed", root, "--to", tmp_path / "set", "--held-out", 0)
    assert code == 0, err
    assert out.splitlines()[0].split() == ["faces", "anger", "fear"]
    assert out.splitlines()[1].split() == ["train", "2", "1", "1"]
    assert out.splitlines()[3:] == ["3 faces were reviewed", "1 left out: the review names no expression"]
    assert (tmp_path / "set" / "faceset.json").is_file()


def test_orphans_are_listed(run, root, corrected, tmp_path):
    (tmp_path / "photos" / "photo-000.png").write_bytes(reviews.photograph(["fear"], 200))
    reviews.night(root, tmp_path / "photos", 1)
    code, out, _ = run("review", "import", corrected, "--to", root, "--reviewer", "Bert")
    assert code == 0
    assert "1 orphans:\n  fear at 57, 44 (126 x 148) of" in out
    assert "photo-000.png: the image has changed or has no labels any more" in out


WRONG = [
    (["export", "{root}"], "--to", 2),
    (["export", "{root}", "--to", "{out}", "--budget", "0"], "not a positive number", 2),
    (["export", "{root}", "--to", "{out}", "--budget", "100000"], "the budget is a number of faces from 1 to 5,000", 2),
    (["export", "{root}", "--to", "{out}", "--policy", "best"], "invalid choice", 2),
    (["export", "{root}", "--to", "{root}/review"], "lies inside the labels root", 2),
    (["export", "{root}", "--to", "{out}", "--model", "nobody"], "unknown model", 1),
    (["export", "{tmp}/nothing", "--to", "{out}"], "no run has been committed", 1),
    (["import", "{tmp}/nothing.json", "--to", "{root}"], "cannot read", 1),
    (["import", "{broken}", "--to", "{root}"], "broken.json is not JSON", 1),
    (["import", "{file}", "--to", "{root}", "--reviewer", " "], "--reviewer is empty", 2),
    (["import", "{file}", "--to", "{tmp}/nothing"], "no run has been committed", 1),
]
WRONG_SETS = [
    (["reviewed", "{root}", "--to", "{out}"], "has a reviewed expression", 1),
    (["reviewed", "{root}", "--to", "{out}", "--raw"], "leave --raw and --detector out", 2),
    (["reviewed", "{root}", "--to", "{out}", "--held-out", "0.7"], "--held-out is a share", 2),
    (["folder", "{root}", "--to", "{out}", "--held-out", "0.1"], "--held-out is for reviewed", 2),
    (["reviewed", "{root}", "--to", "{tmp}"], "not empty", 1),
]


@pytest.mark.parametrize(
    ("words", "told", "code"),
    [(["review", *words], told, code) for words, told, code in WRONG]
    + [(["dataset", "import", *words], *rest) for words, *rest in WRONG_SETS],
)
def test_what_goes_wrong_is_one_line_and_leaves_nothing(run, root, corrected, tmp_path, words, told, code):
    (tmp_path / "broken.json").write_text("{")
    names = {"root": root, "out": tmp_path / "out", "tmp": tmp_path, "broken": tmp_path / "broken.json", "file": corrected}
    before = fakes.tree(root)
    given, out, err = run(*(word.format(**names) for word in words))
    assert (given, out, err.count("\n")) == (code, "", 1), err
    assert err.startswith("ferflow: ")
    assert told in err
    assert not (tmp_path / "out").exists()
    assert fakes.tree(root) == before
