"""Plots as geometry: what is drawn is what is counted, and all of it can be read as text."""

import numpy as np
import pytest

from fer_core.monitoring.plots import GAP, WIDTH, Series, columns, reliability_points, round_above, share_bar, shares_of, strip


def test_columns_stand_on_each_other_and_fill_the_axis():
    series = [Series("faces", "red", np.array([3, 0])), Series("none", "blue", np.array([1, 2]))]
    plot = columns("Images", ("monday", "tuesday"), series, "{:.0f}".format)
    assert plot.ticks == ("0", "2", "4")
    assert [(one.x, one.y, one.height, one.colour) for one in plot.segments] == [
        (GAP / 2, 25.0, 75.0, "red"),
        (GAP / 2, 0.0, 25.0, "blue"),
        (WIDTH + GAP / 2, 50.0, 50.0, "blue"),
    ]
    assert [one.title for one in plot.segments] == ["monday: faces 3", "monday: none 1", "tuesday: none 2"]
    assert plot.cells == (("3", "1"), ("0", "2"))
    assert plot.label == "Images: 2 columns, the highest 4"


def test_what_is_not_known_is_neither_drawn_nor_written():
    plot = columns("Share", ("a", "b"), [Series("share", "red", np.array([np.nan, 0.5]))], "{:.1f}".format, 1.0)
    assert [one.title for one in plot.segments] == ["b: 0.5"]
    assert plot.cells == (("",), ("0.5",))
    assert columns("Share", (), [Series("share", "red", np.zeros(0))], str).label == "Share: nothing to show"


@pytest.mark.parametrize(("value", "top"), [(0, 1), (0.19, 0.2), (1, 1), (3, 4), (4.0001, 5), (6, 8), (9.5, 10), (700, 800)])
def test_axes_end_at_round_numbers(value, top):
    assert round_above(value) == pytest.approx(top)


def test_shares_are_one_together_or_unknown():
    shares = shares_of(np.array([[1, 3], [0, 0]]))
    assert shares[0].tolist() == [0.25, 0.75]
    assert np.isnan(shares[1]).all()


def test_a_bar_of_shares():
    bar = share_bar("folder", np.array([1, 0, 3]), ("a", "b", "c"), ("red", "green", "blue"), "{:.0%}".format, part=2)
    assert (bar.total, bar.cells) == (4, ("25%", "0%", "75%", "50%"))
    assert [(one.x, one.width, one.title) for one in bar.segments] == [(0.0, 25.0, "a 25%"), (25.0, 75.0, "c 75%")]
    assert share_bar("empty", np.zeros(2, np.int64), ("a", "b"), ("red", "blue"), str, part=0).segments == ()


def test_a_strip_is_full_from_its_top_on_and_never_invisible():
    row = strip("size", [("a", 0.0, "red"), ("b", None, ""), ("c", 0.9, "blue")], 0.5, "0.900")
    assert [(one.height, one.colour) for one in row.segments] == [(0.6, "red"), (10.0, "blue")]
    assert row.width == 3 * WIDTH


def test_points_of_agreement_lie_within_their_intervals():
    (point,) = reliability_points(np.array([0, 40]), np.array([0, 30]), np.array([np.nan, 0.8]))
    assert (point.x, point.y) == (80.0, 25.0)
    assert point.high < point.y < point.low  # upwards is less
    assert point.title == "40 faces with a mean confidence of 80%: reviewers agree with 75% (60% to 86%)"
    assert reliability_points(np.zeros(3, np.int64), np.zeros(3, np.int64), np.full(3, np.nan)) == []
