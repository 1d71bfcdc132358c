from hypothesis import given
from hypothesis import strategies as st

from tasks.execution.progress import Tenths, counted, listening, stage


@given(st.lists(st.integers(1, 50), min_size=1))
def test_progress_is_logged_at_least_every_tenth(steps):
    """Steps larger than a tenth are logged each; of smaller ones, at most ten."""
    total, done, last, tenths = sum(steps), 0, 0, Tenths()
    logged = []
    for step in steps:
        done += step
        if tenths.passed(done, total):
            logged.append(done)
            last = done
        assert done - last < total / 10 + 1e-9 or step > total / 10
    assert logged[-1] == total
    assert len(logged) <= 10


def test_what_was_staged_before_is_not_logged_again():
    tenths = Tenths()
    assert tenths.passed(50, 100)
    assert not tenths.passed(59, 100)
    assert tenths.passed(60, 100)


def test_counts_are_written_out():
    assert counted("planning", None, None) == "planning"
    assert counted("listed images", 4000, None) == "listed images: 4,000"
    assert counted("verified files", 1, 3) == "verified files: 1 of 3 (33 %)"


def test_stages_reach_the_listener_only_inside():
    lines = []
    stage("before")
    with listening(stage=lines.append):
        stage("inside")
    stage("after")
    assert lines == ["inside"]
