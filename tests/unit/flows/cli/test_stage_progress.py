"""Progress on standard error where there is no terminal: paced by a clock that the tests set."""

import pytest

from fer_core.run.part_name import PartName
from fer_core.run.receipts import ShardReceipt
from flows.cli.progress_bar import Display
from flows.cli.stage_progress import BEAT_SECONDS, LINE_SECONDS, PacedLines, StageProgress, duration
from tasks.execution.progress import Progress


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_line_is_written_when_the_last_one_is_old_enough(clock, capsys):
    lines = PacedLines(clock)
    lines.show("listed images: 4,000")
    clock.now += LINE_SECONDS - 0.1
    lines.show("listed images: 8,000")
    assert capsys.readouterr() == ("", "")
    clock.now += 0.1
    lines.show("listed images: 12,000")
    lines.show("listed images: 16,000")
    assert capsys.readouterr() == ("", "listed images: 12,000, 0:10 elapsed\n")


def test_a_stage_without_news_repeats_its_line(clock, capsys):
    """Regression: planning a million images and a commit of many files wrote nothing for minutes."""
    lines = PacedLines(clock)
    lines.beat()
    lines.show("planning")
    clock.now += BEAT_SECONDS - 1
    lines.beat()
    assert capsys.readouterr().err == ""
    for _ in range(2):
        clock.now += BEAT_SECONDS
        lines.beat()
        lines.beat()
    assert capsys.readouterr().err == "planning, 0:59 elapsed\nplanning, 1:29 elapsed\n"


def test_the_thread_ends_with_the_lines(clock):
    with PacedLines(clock) as lines:
        assert lines._thread.is_alive()
    assert not lines._thread.is_alive()


def test_stages_are_counted(clock, capsys):
    with StageProgress(clock) as progress:
        progress("reading the tables")
        clock.now += LINE_SECONDS
        progress("sorted files", 3, 12)
        clock.now += LINE_SECONDS
        progress("located faces", 1234)
    assert capsys.readouterr() == ("", "sorted files: 3 of 12 (25 %), 0:10 elapsed\nlocated faces: 1,234, 0:20 elapsed\n")


def test_a_terminal_shows_one_line_a_stage(clock, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with StageProgress(clock) as progress:
        progress("verified files", 1, 4)  # a command that ends within a second shows nothing
        clock.now += 1
        progress("verified files", 2, 4)
        progress("verified files", 4, 4)
    assert capsys.readouterr().err == "\rverified files: 2 of 4 (50 %)\rverified files: 4 of 4 (100 %)\n"


def test_a_run_shows_its_images_and_their_rate(clock, capsys):
    progress = Progress(total=200)
    progress.add(ShardReceipt(PartName(0), (), {"labeled": 40}, {}, 50, {}), resumed=True)
    with Display(clock) as display:
        clock.now += LINE_SECONDS
        display.stage("planning")
        display.show(progress)
        clock.now += 20
        progress.add(ShardReceipt(PartName(1), (), {"labeled": 60}, {}, 70, {}))
        display.show(progress)
    planning, labelled = capsys.readouterr().err.splitlines()
    assert planning == "planning, 0:10 elapsed"
    assert labelled == "labelled images: 100 of 200 (50 %), 120 faces, 3.0 images/s, 0:30 elapsed"


def test_durations():
    assert [duration(seconds) for seconds in (0, 65, 7200)] == ["0:00", "1:05", "2:00:00"]
