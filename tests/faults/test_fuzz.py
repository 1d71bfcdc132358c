"""A few hundred mutants of what `fuzz.py` tries by the ten thousand; and whether it would notice."""

import json
import sys

import pytest

from tests.faults import fuzz

FORMATS = {"JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "HEIF", "AVIF", "JPEG2000", "JXL", "RAW", "MPO"}


@pytest.mark.parametrize(("what", "count"), [("images", 370), ("lists", 600)])
def test_mutants_are_refused_or_read(what, count):
    outcomes = list(fuzz.fuzz(what, None, seed=7, mutants=count))
    assert [outcome.number for outcome in outcomes] == list(range(count))
    assert [outcome for outcome in outcomes if outcome.bad] == []
    found = fuzz.summary(outcomes)["by format"]
    assert set(found) == (FORMATS if what == "images" else {"txt", "csv", "parquet"})
    assert all(len(statuses) > 1 for statuses in found.values()), "some are read, some are refused"
    assert max(outcome.peak_mb for outcome in outcomes) < 1000


BAD_CHILD = """
import json, os, sys, time
number = int(sys.argv[1])
print(json.dumps({"number": number, "name": "JPEG/x/0"}), flush=True)
if number == 0: os.abort()
if number == 1: time.sleep(1000)
if number == 2: print(json.dumps({"number": 2, "name": "JPEG/x/0", "status": "fine", "seconds": 0, "peak_mb": 1}), flush=True)
"""


def test_a_death_and_a_hang_are_told_and_gone_on_from(monkeypatch):
    start = fuzz.subprocess.Popen

    def child(words, **options):
        return start([sys.executable, "-c", BAD_CHILD, words[words.index("--first") + 1]], **options)

    monkeypatch.setattr(fuzz.subprocess, "Popen", child)
    outcomes = list(fuzz.fuzz("images", None, seed=7, mutants=3, seconds=2))
    assert [(outcome.number, outcome.status) for outcome in outcomes] == [(0, "died"), (1, "hung"), (2, "fine")]
    assert "exit -6" in outcomes[0].told
    assert json.loads(json.dumps(fuzz.summary(outcomes)))["mutants"] == 3
