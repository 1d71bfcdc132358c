"""The runs of a root judged by the reference of their model, and the page about them."""

import re
from dataclasses import replace

import numpy as np
import pytest

from fer_core.commit.publish import read_manifest
from fer_core.commit.verify import verify
from fer_core.errors import CommitError, UsageError
from fer_core.monitoring.contents import read_contents
from fer_core.monitoring.disclosure import Disclosure
from fer_core.monitoring.drift import Limits
from fer_core.monitoring.page import write_page
from fer_core.monitoring.reference import read_reference, reference_file
from fer_core.monitoring.report import report_on, write_report
from fer_core.monitoring.runs import choose_reference, history, profile_of
from fer_core.storage.store import open_store
from tests.support.drifting import night

MODEL = "1" * 64


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "labels")


def test_the_first_large_run_is_the_reference_and_later_ones_are_judged(root):
    night(root, "tiny", 0, faces=30, happy=1.0)
    night(root, "first", 1)
    night(root, "second", 2)
    night(root, "odd", 3, size=30.0)
    runs = history(open_store(root))
    assert [run.manifest.run_id for run in runs] == ["tiny", "first", "second", "odd"]
    assert [run.is_reference for run in runs] == [False, True, False, False]
    verdicts = [{finding.measure: finding.verdict for finding in run.findings} for run in runs]
    assert set(verdicts[0].values()) == {"too few"}
    assert verdicts[1] == {}
    assert "drift" not in verdicts[2].values()
    assert verdicts[3]["face_size_px"] == "drift"
    assert verdicts[3]["expression"] != "drift"
    assert verify(open_store(root)).ok  # what is written down lies under no table


def test_another_model_has_another_reference(root):
    night(root, "first", 0)
    night(root, "retrained", 1, happy=0.95, model=2)
    night(root, "after", 2, happy=0.95, model=2)
    runs = history(open_store(root))
    assert [run.is_reference for run in runs] == [True, True, False]
    assert not [finding for finding in runs[2].findings if finding.verdict == "drift"]


def test_another_prior_has_another_reference(root):
    """Other shares of the expressions follow from it, and are no drift."""
    night(root, "first", 0)
    night(root, "balanced", 1, happy=0.3, prior="balanced")
    night(root, "after", 2, happy=0.3, prior="balanced")
    night(root, "back", 3)
    runs = history(open_store(root))
    assert [run.is_reference for run in runs] == [True, True, False, False]
    assert not [finding for run in runs for finding in run.findings if finding.verdict == "drift"]


def test_what_finds_other_faces_has_another_reference(root):
    """Fewer small faces follow from it, and are no drift. Runs of earlier releases keep theirs."""
    night(root, "first", 0)
    night(root, "larger", 1, size=300.0, min_face="4%")
    night(root, "after", 2, size=300.0, min_face="4%")
    night(root, "other", 3, size=200.0, min_face="4%", detector_identity="other-1")
    night(root, "back", 4)
    runs = history(open_store(root))
    assert [run.is_reference for run in runs] == [True, True, False, True, False]
    assert not [finding for run in runs for finding in run.findings if finding.verdict == "drift"]
    assert runs[4].reference.model_digest == MODEL


def test_the_reference_stays_until_another_is_chosen(root):
    store = open_store(root)
    night(root, "first", 0)
    history(store)
    made = read_reference(store, MODEL)
    assert made.runs == ("first",)
    night(root, "odd", 1, happy=0.95)
    assert report_on(store).drifted == ("expression",)
    assert read_reference(store, MODEL) == made
    assert report_on(store, reference_run="odd").newest.manifest.run_id == "first"
    assert read_reference(store, MODEL).runs == ("odd",)
    assert store.exists(f"_meta/drift/reference-{MODEL[:12]}.json")
    with pytest.raises(CommitError, match="not committed"):
        choose_reference(store, "unheard-of")


def test_a_profile_is_what_the_tables_say_and_is_kept(root):
    store = open_store(root)
    manifest = night(root, "first", 0, faces=40)
    profile = profile_of(store, manifest)
    import pyarrow.parquet as pq

    labels = pq.ParquetFile(f"{root}/{manifest.parts_of('labels')[0].path}").read()
    assert profile.faces == 40
    assert profile.mean("face_size_px") == pytest.approx(np.mean(labels["face_size_px"].to_numpy()), rel=1e-6)
    assert profile.counts["needs_review"][1] == sum(labels["needs_review"].to_pylist())
    assert profile.counts["no_face"] == (40, manifest.statuses["no_face"])
    for part in manifest.parts_of("labels"):
        store.remove_file(part.path)
    assert profile_of(store, read_manifest(store, "first")) == profile  # not read again
    other = replace(manifest, parts=tuple(replace(part, sha256="0" * 64) for part in manifest.parts))
    with pytest.raises(CommitError, match="missing"):  # parts that were rewritten are
        profile_of(store, other)


def test_a_damaged_reference_is_said_in_one_line(root):
    night(root, "first", 0)
    store = open_store(root)
    history(store)
    store.write_bytes(reference_file(MODEL), b"{}")
    with pytest.raises(CommitError, match="choose another reference run"):
        history(store)
    assert report_on(store, reference_run="first").newest is None


def test_a_root_without_runs_has_no_report(root):
    with pytest.raises(CommitError, match="no run has been committed"):
        history(open_store(root))


def test_a_night_with_nothing_new_is_not_judged(root):
    night(root, "first", 0)
    night(root, "empty", 1, faces=0)
    assert [run.findings for run in history(open_store(root))] == [(), ()]


def test_the_page_tells_of_runs_and_shows_no_picture(root, tmp_path):
    night(root, "first", 0)
    night(root, "second", 1)
    night(root, "odd", 2, happy=0.95)
    report = report_on(open_store(root))
    file = tmp_path / "pages" / "report.html"
    assert write_report(report, str(file)) == str(file)
    page = file.read_text("utf-8")
    assert "secret" not in page  # what the pictures are called
    assert page.count("<img") == page.count("data:image/") == 0
    assert page.count("<svg") > 10
    assert not re.search(r"<script|https?://|url\(", page)
    assert "Run <code>odd</code> against <code>first</code>" in page
    assert '<td>labels by expression</td><td></td><td></td><td><span class="drift">' in page
    for run in report.runs:
        assert f"<code>{run.manifest.run_id}</code>" in page
    said = report.to_json()
    assert (said["run_id"], said["reference"], said["drifted"]) == ("odd", ["first"], ["expression"])
    assert {measure["measure"]: measure["verdict"] for measure in said["measures"]}["expression"] == "drift"


def test_whatever_a_manifest_holds_is_text_on_the_page(root):
    night(root, "first", 0)
    night(root, "second", 1)
    report = report_on(open_store(root))
    evil = "<img src=x onerror=alert(1)></td>\"'"
    changed = {"run_id": evil, "run_date": evil, "model_name": evil, "model_digest": evil, "detector": evil}
    runs = [replace(run, manifest=replace(run.manifest, **changed)) for run in report.runs]
    page = write_page(evil, runs, report.limits, read_contents(open_store(root), runs, Disclosure(names=True)))
    assert page.count("<img") == 0
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") > 10
    assert page.count("<td>") == page.count("</td>")


def test_the_page_of_a_single_run_says_that_there_is_nothing_to_compare(root, tmp_path):
    night(root, "first", 0)
    write_report(report_on(open_store(root), Limits(enough=1000)), str(tmp_path / "report.html"))
    assert "Nothing to compare yet: a run of at least 1,000 faces" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize("place", ["{root}/report.html", "{root}/labels/report.html", "{parent}/"])
def test_the_page_has_a_name_and_lies_outside_the_tables(root, tmp_path, place):
    night(root, "first", 0, faces=10)
    report = report_on(open_store(root))
    with pytest.raises(UsageError):
        write_report(report, place.format(root=root, parent=tmp_path))


def test_the_command_needs_no_orchestrator(root, tmp_path, capsys):
    from flows.cli.main import main

    night(root, "first", 0)
    night(root, "odd", 1, happy=0.95)
    assert main(["report", root, "--to", str(tmp_path / "report.html")]) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path}/report.html: 2 runs; run odd has drifted: expression\n"
    assert main(["report", root, "--to", str(tmp_path / "report.html"), "--reference", "nobody", "--json"]) == 1


def test_reports_of_a_bucket(s3_root):
    night(s3_root, "first", 0, faces=20)
    bucket = s3_root.rsplit("/", 1)[0]
    assert write_report(report_on(open_store(s3_root)), f"{bucket}/report.html") == f"{bucket}/report.html"
