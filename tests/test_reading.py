"""When nobody is between listing a table and opening what was listed."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core import reading
from fer_core.reading import Activity, Watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux tells who reads")

NAMES = ("x/0", "x/1", "y/0")
WAIT = 10.0
PATIENCE = 240.0
SILENT = 0.005
"""Clearly longer than between two events of a question of `ask`, and clearly shorter than its pause."""


def activity():
    return Activity(WAIT, 0.0, set(NAMES))


def ask(seen, now, names=NAMES, listings=2, step=0.001):
    """One question: list, then open, then close everything. Returns when it ended."""
    for _ in range(listings):
        seen.listed(now)
        seen.closed(now + step / 2)
        now += step
    for name in names:
        seen.opened(name, now)
        now += step
    for _ in names:
        seen.closed(now)
    return now


def test_nothing_for_so_long():
    seen = activity()
    assert not seen.idle(WAIT + 0.9)
    assert seen.idle(WAIT + 1.1)
    seen.listed(20.0)
    seen.closed(20.0)
    assert not seen.idle(30.9)
    assert seen.idle(31.1)


@pytest.mark.parametrize("pause", [11.5, 15.0, 20.0, 30.0])
def test_who_has_come_again_after_about_as_long_is_expected(pause):
    seen = activity()
    for _ in range(3):
        end = ask(seen, seen.last + pause)
    assert seen.idle(end + 0.49 * pause) == (0.49 * pause > 11)
    assert not any(seen.idle(end + share * pause) for share in (0.6, 0.9, 0.99, 1.01, 1.4))
    assert seen.idle(end + 1.6 * pause), "it has gone"


def regular(seen, until, question, pause=0.5):
    now = 0.0
    while now < until:
        now = question(seen, now) + pause
    return now - pause


def twice(seen, now):
    """As DuckDB's relations do: bind, then bind again and scan."""
    return ask(seen, ask(seen, now, NAMES[:1]) + 0.001)


def union(seen, now):
    """As DuckDB does where columns are united by name: opens all to bind, then all to scan; threads open some more than once."""
    now = ask(seen, now)
    for name in (*NAMES, *NAMES[: round(now * 1000) % 2]):
        seen.opened(name, now + 0.002)
    return now + 0.002


def crowded(seen, now):
    """Threads open the first part now once, now twice."""
    return ask(seen, now, (*NAMES, *NAMES[: round(now * 1000) % 2]))


@pytest.mark.parametrize("question", [ask, twice, union, crowded])
def test_one_reader_who_asks_again_and_again(question):
    seen = activity()
    end = regular(seen, WAIT + 1, question)
    assert seen.idle(end + SILENT)
    assert not seen.idle(end)
    seen.listed(end + 0.5)
    seen.closed(end + 0.5)
    assert not seen.idle(end + 0.504)


@pytest.mark.parametrize("question", [ask, twice, union, crowded])
def test_who_leaves_no_pause_may_be_back_at_any_moment(question):
    """However regular it is, and however long a busy machine keeps it from going on just now."""
    seen = activity()
    end = regular(seen, WAIT + 1, question, pause=0.1)
    assert not any(seen.idle(end + later) for later in (0.001, 0.005, 0.02, 0.05, 1.0))
    for _ in range(3):
        end = question(seen, end + 0.5)
        assert not seen.idle(end + SILENT), "it has only just begun to leave pauses"


def test_silence_in_the_midst_of_questions():
    """A second thread opens some parts later, once a question: what looks like its end may not be."""

    def slow(seen, now):
        now = ask(seen, now)
        seen.opened(NAMES[1], now + 0.008)
        return now + 0.008

    seen = activity()
    end = regular(seen, WAIT + 1, slow)
    assert seen.idle(end + 0.02)
    now = ask(seen, end + 0.5)
    assert not any(seen.idle(now + later) for later in (0.002, 0.005, 0.0079))


@pytest.mark.parametrize("question", [ask, twice, union, crowded])
def test_the_second_half_of_the_pause_is_left_alone(question):
    seen = activity()
    end = regular(seen, WAIT + 1, question)
    assert seen.idle(end + 0.24)
    assert not seen.idle(end + 0.26)


def test_in_the_middle_of_a_question_that_comes_again_and_again():
    seen = activity()
    end = regular(seen, WAIT + 1, twice)
    bound = ask(seen, end + 0.005, NAMES[:1])
    assert not seen.idle(bound + 0.1), "the first listing may still be what the second half opens"
    seen = activity()
    end = regular(seen, WAIT + 1, union)
    bound = ask(seen, end + 0.005)
    assert not seen.idle(bound + 0.0015), "all is opened once, and will be again"


def test_a_reader_of_some_parts_only_may_come_for_the_others():
    seen = activity()
    end = regular(seen, WAIT + 1, lambda seen, now: ask(seen, now, NAMES[1:]))
    assert not seen.idle(end + SILENT)


def test_a_second_reader_who_has_only_listed_breaks_the_pattern():
    seen = activity()
    end = regular(seen, WAIT + 1, twice)
    assert seen.idle(end + SILENT)
    ask(seen, end + 0.006, (), listings=1)
    for _ in range(3):
        end = twice(seen, end + 0.5)
        assert not seen.idle(end + SILENT)


def test_two_readers_who_ask_all_the_time_leave_no_moment_that_could_be_told():
    seen, dice, now = activity(), random.Random(0), 0.0
    while now < 3 * WAIT:
        if dice.random() < 0.5:
            ask(seen, now + 0.001, NAMES[:1])
        now = ask(seen, now) + 0.5
        assert not seen.idle(now - 0.48)


def test_it_takes_a_while_to_know_a_pattern():
    seen = activity()
    end = regular(seen, WAIT - 1, ask)
    assert not seen.idle(end + SILENT)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([ask, twice, union, crowded]), st.integers(0, 1), st.integers(1, 3), st.integers(0, 2**32))
def test_never_while_a_slow_reader_has_listed_and_not_opened(question, bound, listings, seed):
    """A quick one asks all the time; a slow one lists at some moment, opens one part to see its columns or none, and comes back within
    `wait` to open them all: in between, it is never idle."""
    dice = random.Random(seed)
    seen = Activity(WAIT, 0.0, set(NAMES))
    end = regular(seen, WAIT + 1 + dice.random(), question)
    assert seen.idle(end + SILENT)
    comes_back = end + 0.9 * WAIT * dice.random()
    now = ask(seen, end + 0.001, NAMES[:bound], listings)
    assert not seen.idle(now + SILENT)
    while now < comes_back:
        now = question(seen, now + 0.4)
        assert not seen.idle(now + SILENT)


@pytest.fixture
def folders(tmp_path):
    found = []
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0").write_bytes(b"0")
        found.append(str(tmp_path / name))
    return found


def test_the_kernel_tells(folders):
    with Watch(folders, 0.2) as watch:
        assert watch.listed() == set()
        os.listdir(folders[1])
        assert watch.listed() == {folders[1]}
        with open(f"{folders[0]}/0", "rb"):
            assert not watch.idle(0.5)
        started = time.monotonic()
        assert watch.idle(PATIENCE)
        assert time.monotonic() - started > 0.1


def test_other_folders_are_told_and_are_no_activity(folders):
    with Watch(folders[:1], 0.2, folders[1:]) as watch:
        time.sleep(0.25)
        os.listdir(folders[1])
        assert watch.listed() == {folders[1]}
        assert watch._activity.quiet(time.monotonic())
        os.listdir(folders[0])
        assert watch.listed() == {folders[0]}
        assert not watch._activity.quiet(watch._activity.last + 0.2), "that was somebody reading"


def test_a_step_is_taken_back_where_somebody_listed_meanwhile(folders):
    steps = []

    def step(listed=None):
        steps.append(listed)
        if listed and len(steps) == 1:
            os.listdir(listed)

    def there(listed):
        return folders[0] not in listed

    with Watch(folders, 3600) as watch:
        assert watch.step(step, there) is None, "nobody knows yet"
    with Watch(folders, 0.2) as watch:
        assert watch.idle(PATIENCE)
        os.listdir(folders[1])
        assert watch.step(step, there) is None, "somebody has listed before"
        assert steps == []
        assert watch.idle(PATIENCE)
        assert watch.step(step, there) is True, "nobody lists"
        steps.clear()
        assert watch.idle(PATIENCE)
        assert watch.step(lambda: step(folders[0]), there) is False
        assert len(steps) == 2
        steps.clear()
        assert watch.idle(PATIENCE)
        assert watch.step(lambda: step(folders[1]), there) is True
        assert len(steps) == 1


def test_a_part_that_another_process_has_open_is_seen(folders):
    code = f"import sys; stream = open({folders[0] + '/0'!r}); print('open', flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as reader:
        reader.stdout.readline()
        with Watch(folders, 0.05) as watch:  # it was opened before, so no event tells of it
            assert not watch.idle(1)
            reader.communicate()
            assert watch.idle(PATIENCE)


def test_whoever_opens_while_it_is_asked_only_waits(folders):
    """The kernel breaks a lease for whoever opens, and tells its holder by a signal, which must not end us."""
    code = f"import sys\nfor _ in range(20000): open({folders[0] + '/0'!r}).close()"
    with subprocess.Popen([sys.executable, "-c", code]) as reader:
        answers = set()
        while reader.poll() is None:
            answers.add(reading._is_open(f"{folders[0]}/0"))
    assert reader.returncode == 0
    assert answers == {True, False}


def test_a_folder_keeps_its_name_when_it_is_moved(folders, tmp_path):
    with Watch(folders, 0.1) as watch:
        os.rename(folders[0], tmp_path / "z")
        os.listdir(tmp_path / "z")
        assert watch.listed() == {folders[0]}


def test_more_than_the_kernel_keeps_is_not_taken_for_nothing(folders):
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    with Watch(folders, 0.05) as watch:
        for _ in range(limit):
            os.listdir(folders[0])
        watch._activity.last = watch._activity.began = -1e9
        watch.listed()
        assert watch._activity.began > 0


def test_what_cannot_be_watched_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Watch([str(tmp_path / "nothing")], 1)
