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
from fer_core.reading import REGULAR_SECONDS, Activity, Watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux tells who reads")

NAMES = ("x/0", "x/1", "y/0")
WAIT = 10.0


def activity():
    return Activity(WAIT, 0.0, set(NAMES))


def idle(seen, now):
    """If nothing is open."""
    return seen.quiet(now) or seen.between_questions(now)


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
    assert not idle(seen, WAIT - 0.1)
    assert idle(seen, WAIT)
    seen.listed(11.0)
    seen.closed(11.0)
    assert not idle(seen, 20.9)
    assert idle(seen, 21.0)


def regular(seen, until, question, pause=0.005):
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
    assert idle(seen, end + 2 * REGULAR_SECONDS)
    assert not idle(seen, end)
    seen.listed(end + 0.005)
    seen.closed(end + 0.005)
    assert not idle(seen, end + 0.009)


def test_in_the_middle_of_a_question_that_comes_again_and_again():
    seen = activity()
    end = regular(seen, WAIT + 1, twice)
    bound = ask(seen, end + 0.005, NAMES[:1])
    assert not idle(seen, bound + 0.1), "the first listing may still be what the second half opens"
    seen = activity()
    end = regular(seen, WAIT + 1, union)
    bound = ask(seen, end + 0.005)
    assert not idle(seen, bound + 0.0015), "all is opened once, and will be again"


def test_a_reader_of_some_parts_only_may_come_for_the_others():
    seen = activity()
    end = regular(seen, WAIT + 1, lambda seen, now: ask(seen, now, NAMES[1:]))
    assert not idle(seen, end + 2 * REGULAR_SECONDS)


def test_a_second_reader_who_has_only_listed_breaks_the_pattern():
    seen = activity()
    end = regular(seen, WAIT + 1, twice)
    assert idle(seen, end + 2 * REGULAR_SECONDS)
    ask(seen, end + 0.003, (), listings=1)
    for _ in range(3):
        end = twice(seen, end + 0.01)
        assert not idle(seen, end + 2 * REGULAR_SECONDS)


def test_two_readers_who_ask_all_the_time_leave_no_moment_that_could_be_told():
    seen, dice, now = activity(), random.Random(0), 0.0
    while now < 3 * WAIT:
        if dice.random() < 0.5:
            ask(seen, now + 0.001, NAMES[:1])
        now = ask(seen, now) + 0.005
        assert not idle(seen, now - 0.003)


def test_it_takes_a_while_to_know_a_pattern():
    seen = activity()
    end = regular(seen, WAIT - 1, ask)
    assert not idle(seen, end + 2 * REGULAR_SECONDS)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([ask, twice, union, crowded]), st.integers(0, 1), st.integers(1, 3), st.integers(0, 2**32))
def test_never_while_a_slow_reader_has_listed_and_not_opened(question, bound, listings, seed):
    """A quick one asks all the time; a slow one lists at some moment, opens one part to see its columns or none, and comes back within
    `wait` to open them all: in between, it is never idle."""
    dice = random.Random(seed)
    seen = Activity(1.0, 0.0, set(NAMES))
    end = regular(seen, 1.5 + dice.random(), question)
    assert idle(seen, end + 2 * REGULAR_SECONDS)
    comes_back = end + 0.9 * dice.random()
    now = ask(seen, end + 0.001, NAMES[:bound], listings)
    assert not idle(seen, now + 2 * REGULAR_SECONDS)
    while now < comes_back:
        now = question(seen, now + 0.003)
        assert not idle(seen, now + 2 * REGULAR_SECONDS)


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
        assert watch.idle(5)
        assert time.monotonic() - started > 0.1


def test_other_folders_are_told_and_are_no_activity(folders):
    with Watch(folders[:1], 0.2, folders[1:]) as watch:
        time.sleep(0.2)
        os.listdir(folders[1])
        assert watch.listed() == {folders[1]}
        assert watch._activity.quiet(time.monotonic())
        os.listdir(folders[0])
        assert watch.listed() == {folders[0]}
        assert not watch._activity.quiet(time.monotonic())


def test_a_part_that_another_process_has_open_is_seen(folders):
    code = f"import sys; stream = open({folders[0] + '/0'!r}); print('open', flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as reader:
        reader.stdout.readline()
        with Watch(folders, 0.05) as watch:  # it was opened before, so no event tells of it
            assert not watch.idle(1)
            reader.communicate()
            assert watch.idle(5)


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
