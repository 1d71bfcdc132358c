"""What the page is made of, counted over small roots, against the same numbers counted by hand."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from fer_core.commit.policy import Policy, write_policy
from fer_core.commit.publish import committed_runs, read_manifest
from fer_core.errors import CommitError
from fer_core.labels import EXPRESSIONS
from fer_core.monitoring.contents import read_contents
from fer_core.monitoring.current_labels import FOLDERS, STEPS
from fer_core.monitoring.disclosure import Disclosure
from fer_core.monitoring.drift import histogram
from fer_core.monitoring.face_examples import choose_faces, no_examples
from fer_core.monitoring.nights import Nights
from fer_core.monitoring.pipelines import pipelines_of
from fer_core.monitoring.report import report_on, write_report
from fer_core.monitoring.runs import history
from fer_core.outputs.mark import read_mark
from fer_core.outputs.registry import is_registered
from fer_core.query.read_labels import read_labels
from fer_core.query.session import open_session
from fer_core.review.history import record
from fer_core.review.record import Correction
from fer_core.storage.store import open_store
from tests.support import fakes, reviews
from tests.support.drifting import night

NOW_US = 1_769_904_000_000_000


def contents_of(root, disclosure=None):
    store = open_store(str(root))
    return read_contents(store, history(store), disclosure or Disclosure())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Twelve photographs of two faces in three folders, labelled by two models, with kept crops, and one that is no image."""
    folder = tmp_path_factory.mktemp("contents")
    for number, name in enumerate(("anna", "<b>ben", "")):
        reviews.photographs(folder / "photos" / name, 4 + number, faces=2, first=10 * number)
    (folder / "photos" / "broken<img src=x onerror=alert(1)>.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    for number, model in enumerate("ab"):
        reviews.night(folder / "root", folder / "photos", number, model=model, keep_crops=True)
    return folder / "root"


def test_the_newest_answer_of_each_image_is_counted_once(drawn):
    labels = read_labels(str(drawn)).to_pylist()
    found = contents_of(drawn).labels
    assert found.faces == len(labels) == 30
    assert dict(zip(EXPRESSIONS, found.expressions.faces.tolist(), strict=True)) == {
        name: sum(row["expression"] == name for row in labels) for name in EXPRESSIONS
    }
    assert found.review == sum(row["needs_review"] for row in labels)
    steps = np.bincount([min(STEPS - 1, int(row["confidence"] * STEPS)) for row in labels], minlength=STEPS)
    assert found.confidence.faces.tolist() == steps.tolist()
    at = int(steps.argmax())
    sure = [row["confidence"] for row in labels if int(row["confidence"] * STEPS) == at]
    assert found.confidence.confidence[at] == pytest.approx(np.mean(sure))
    for name, bins in found.quality.items():
        assert bins.faces.tolist() == histogram(name, np.array([row[name] for row in labels])).tolist(), name
    assert sum(found.marked_by_day.values()) == found.review
    assert set(found.marked_by_day) == {"2026-01-02"}


def test_folders_lie_below_the_common_one(drawn):
    found = contents_of(drawn).labels.folders
    assert found.above == f"{drawn.parent}/photos/"
    assert found.names == ("", "<b>ben", "anna")  # by falling number of faces
    assert found.expressions.sum(axis=1).tolist() == [12, 10, 8]
    assert found.others == 0
    assert found.review.sum() == contents_of(drawn).labels.review


def test_of_many_folders_the_largest_are_listed(tmp_path):
    pictures = tmp_path / "photos"
    for number in range(FOLDERS + 3):
        fakes.write_pictures(pictures / f"album-{number:02d}", [1] * (1 + (number >= 3)))
    refs = [ref for folder in sorted(pictures.iterdir()) for ref in fakes.refs(folder)]
    fakes.label(fakes.config(tmp_path / "labels"), refs)
    found = contents_of(tmp_path / "labels").labels.folders
    assert found.names == tuple(f"album-{number:02d}" for number in range(3, FOLDERS + 3))
    assert (found.others, found.others_expressions.sum()) == (3, 3)


def test_quarantine_by_reason_with_examples(drawn):
    found = contents_of(drawn).quarantined
    assert (found.total, found.images.tolist(), found.others) == (1, [1], 0)
    assert found.reasons[0].startswith("unreadable: ")
    assert "broken" not in found.reasons[0]
    assert [image.uri.rpartition("/")[2] for image in found.examples[0]] == ["broken<img src=x onerror=alert(1)>.png"]
    assert found.statuses["labeled"] == 15


def test_reviews_are_compared_with_the_labels_of_now(tmp_path):
    folder = reviews.photographs(tmp_path / "photos", 6)
    for number, model in enumerate("ab"):
        reviews.night(tmp_path / "root", folder, number, model=model)
    store, rows = open_store(str(tmp_path / "root")), reviews.labels_of(tmp_path / "root")
    other = EXPRESSIONS[(EXPRESSIONS.index(rows[1]["expression"]) + 1) % 8]
    verdicts = [rows[0]["expression"], other, "not_a_face", "unsure"]
    given = [_correction(row, verdict, at) for at, (row, verdict) in enumerate(zip(rows, verdicts, strict=False))]
    given.append(replace(given[0], image_sha256="f" * 64))
    record(store, given, b"a file", NOW_US)
    found = contents_of(tmp_path / "root").reviewed
    assert (found.reviews, found.reviewers, found.orphans, found.compared) == (5, 1, 1, 2)
    assert (found.accuracy, found.confused) == (0.5, [(rows[1]["expression"], other, 1)])
    assert found.verdicts["not_a_face"] == found.verdicts["unsure"] == 1
    wanted = sum(abs(right - row["confidence"]) for row, right in zip(rows[:2], (1, 0), strict=True))
    apart = int(rows[0]["confidence"] * 10) != int(rows[1]["confidence"] * 10)
    assert found.ece == pytest.approx(wanted / 2 if apart else abs(1 - rows[0]["confidence"] - rows[1]["confidence"]) / 2)
    assert found.backlog == sum(row["needs_review"] for row in rows[4:])
    assert found.pace == 5 / 4
    assert found.weeks == pytest.approx(found.backlog / found.pace)


def test_a_root_without_reviews_has_no_agreement(drawn):
    found = contents_of(drawn).reviewed
    assert (found.accuracy, found.ece, found.weeks, found.confused, found.compared) == (None, None, None, [], 0)
    assert found.backlog == contents_of(drawn).labels.review


def test_nights_add_up_the_runs_of_a_day(tmp_path):
    root = str(tmp_path / "labels")
    night(root, "first", 0, faces=30)
    night(root, "second", 1, faces=40)
    runs = history(open_store(root))
    busy = {"decode": 1.5, "detect": 2.0}
    later = datetime(2026, 1, 2, 0, 1, tzinfo=UTC).isoformat()
    runs[1] = replace(runs[1], manifest=replace(runs[1].manifest, seconds=busy, committed_at=later))
    same_day = [*runs, replace(runs[1], manifest=replace(runs[1].manifest, run_id="again"))]
    nights = Nights.of(same_day)
    assert nights.days == ("2026-01-01", "2026-01-02")
    assert nights.faces.tolist() == [30, 80]
    processed = sum(runs[1].manifest.statuses.values())
    assert nights.processed.tolist()[1] == 2 * processed
    assert nights.elapsed[1] == 120.0
    assert nights.rate[1] == pytest.approx(processed / 60)
    assert nights.cost.sum() == pytest.approx(1000 * 7.0 / nights.processed.sum())
    assert len(nights.last(1)) == 1
    assert nights.last(1).review_share[0] == pytest.approx(runs[1].profile.mean("needs_review"))


def test_what_ran_has_the_card_of_a_model_that_is_here(tmp_path):
    from fer_core.models.store import resolve_model

    root, tiny = str(tmp_path / "labels"), resolve_model("tiny")
    night(root, "first", 0, faces=10)
    (run,) = history(open_store(root))
    known = replace(run.manifest, model_name="tiny", model_digest=tiny.digest, config={**run.manifest.config, "model": "tiny"})
    (found,) = pipelines_of([replace(run, manifest=known)])
    assert found.card is not None
    assert found.card.trained_on == ("FER+", "muxspace", "muxspace (further pictures)")
    assert [score.faces for score in found.card.scores] == [3199, 3579, 555]
    assert dict(found.settings)["class prior"] == "training"
    (unknown,) = pipelines_of([replace(run, manifest=replace(known, model_digest="0" * 64))])  # another model of the same name
    assert unknown.card is None
    (elsewhere,) = pipelines_of([replace(run, manifest=replace(known, config={**known.config, "model": "../../etc"}))])
    assert elsewhere.card is not None  # by the model's name


def test_by_default_the_page_names_and_shows_nothing(drawn, tmp_path):
    file = tmp_path / "report.html"
    write_report(report_on(open_store(str(drawn))), str(file))
    page = file.read_text("utf-8")
    assert not any(word in page for word in ("anna", "ben", "broken", "photo-0", "data:image", "<img"))
    assert "folder 3" in page
    assert "This page names no image and shows no face." in page
    assert not is_registered(open_store(str(drawn)), str(file))
    assert read_mark(file.read_bytes())[1].num_rows == 0


def test_names_are_text_and_the_page_is_registered(drawn, tmp_path):
    file = tmp_path / "report.html"
    write_report(report_on(open_store(str(drawn))), str(file), Disclosure(names=True))
    page = file.read_text("utf-8")
    assert "<b>ben" not in page
    assert "&lt;b&gt;ben" in page
    assert "broken&lt;img src=x onerror=alert(1)&gt;.png" in page
    assert "data:image" not in page
    assert is_registered(open_store(str(drawn)), str(file))
    kind, images = read_mark(file.read_bytes())
    assert (kind, [uri.rpartition("/")[2][:6] for uri in images["image_uri"].to_pylist()]) == ("report", ["broken"])


def test_faces_are_kept_crops_of_each_expression(drawn, tmp_path):
    file = tmp_path / "report.html"
    write_report(report_on(open_store(str(drawn))), str(file), Disclosure(faces=True))
    page = file.read_text("utf-8")
    expressions = Counter(row["expression"] for row in read_labels(str(drawn)).to_pylist())
    assert page.count('<img alt="a face"') == sum(min(count, 8) for count in expressions.values())
    assert "anna" not in page
    assert read_mark(file.read_bytes())[1].num_rows > 5
    assert "biometric" in page


def test_crops_past_their_age_are_not_shown(drawn):
    """Also before housekeeping has removed them: it does not reach the page."""
    store, days = open_store(str(drawn)), 30
    manifests = [read_manifest(store, run_id) for run_id in committed_runs(store)]
    newest = max(manifest.config["started_us"] for manifest in manifests) / 1e6
    write_policy(store, Policy(keep_crops_days=days))
    try:
        with open_session(store) as session:
            found = [choose_faces(store, session, manifests, newest + days * 86_400 + more) for more in (-1, 0)]
    finally:
        write_policy(store, Policy())
    assert any(found[0].sure.values())
    assert found[1] == no_examples("All crops are older than the policy of this root allows.")


def test_the_policy_forbids_faces(drawn, tmp_path):
    store = open_store(str(drawn))
    write_policy(store, Policy(crops="never"))
    try:
        write_report(report_on(store), str(tmp_path / "report.html"), Disclosure(faces=True))
    finally:
        write_policy(store, Policy())
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "data:image" not in page
    assert "The policy of this root does not allow crops." in page


def test_without_kept_crops_no_face_is_shown(tmp_path):
    night(tmp_path / "labels", "first", 0, faces=10)
    write_report(report_on(open_store(str(tmp_path / "labels"))), str(tmp_path / "report.html"), Disclosure(faces=True))
    assert "No run has kept crops of faces." in (tmp_path / "report.html").read_text("utf-8")


def test_any_kind_of_storage(any_root, tmp_path):
    night(any_root, "first", 0, faces=20)
    night(any_root, "empty", 1, faces=0)
    write_report(report_on(open_store(any_root)), str(tmp_path / "report.html"), Disclosure(names=True))
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "20 faces labelled in 2 runs" in page
    assert "Purpose" in page


def test_the_options_of_the_command(drawn, tmp_path, capsys):
    from flows.cli.main import main

    words = ["report", str(drawn), "--to", str(tmp_path / "report.html"), "--json"]
    assert main(words) == 0
    plain = json.loads(capsys.readouterr().out)
    assert main([*words, "--with-names", "--with-faces"]) == 0
    assert json.loads(capsys.readouterr().out) == plain  # what programs read names nothing
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "anna" in page
    assert "data:image/png" in page


def test_a_missing_part_is_one_line(tmp_path):
    store = open_store(str(tmp_path / "labels"))
    manifest = night(str(tmp_path / "labels"), "first", 0, faces=10)
    report = report_on(store)
    store.remove_file(manifest.parts_of("labels")[0].path)
    with pytest.raises(CommitError, match="see ferflow verify"):
        write_report(report, str(tmp_path / "report.html"))
    assert not (tmp_path / "report.html").exists()


def _correction(row, verdict, at):
    box = tuple(row[f"box_{name}"] for name in "xywh")
    known = (row["expression"], row["model_digest"], "Anna")
    return Correction(row["image_sha256"], row["image_uri"], box, verdict, *known, NOW_US + at, "e" * 16)
