"""What is a smallest face, and what follows from it for the sizes at which a picture is decoded and searched."""

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from fer_core.decode.min_face import (
    DEFAULT,
    ENLARGE,
    LEAST,
    LEAST_OF_SHARE,
    LEVEL_LEAST,
    LEVEL_MOST,
    LEVEL_MOST_OF_PIXELS,
    MOST,
    REDUCED_FROM,
    REDUCTIONS,
    SMALLEST_SIDE,
    MinFace,
    crop_reduction,
    in_full,
    not_above,
)
from fer_core.errors import UsageError
from fer_core.run.configuration import _is_min_face

WRONG = (
    "",
    " ",
    "5",
    "9.99",
    "0",
    "-20",
    "0%",
    "101%",
    "100.1%",
    "abc",
    "nan",
    "nan%",
    "inf",
    "1e2",
    "20px",
    "1 %",
    "%",
    "²0",
    "1%%",
    "9" * 12,
)
faces = st.one_of(
    st.floats(LEAST, MOST).map(lambda px: MinFace(round(px, 3), relative=False, most=LEVEL_MOST_OF_PIXELS)),
    st.floats(0.001, 100).map(lambda share: MinFace(max(0.001, round(share, 3)), relative=True)),
)
lengths = st.integers(1, 60_000)


def sizes_of(one, other):
    return max(one, other), min(one, other)


class TestText:
    @pytest.mark.parametrize("text", WRONG)
    def test_what_is_none_is_one_line(self, text):
        with pytest.raises(UsageError, match=r"^the smallest face (is|has) ") as refused:
            MinFace.parse(text)
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize(
        ("text", "canonical"),
        [("1%", "1%"), ("1.0%", "1%"), (" 20 ", "20"), ("020.50", "20.5"), ("10", "10"), ("0.5%", "0.5%"), ("100%", "100%")],
    )
    def test_one_value_has_one_text(self, text, canonical):
        assert str(MinFace.parse(text)) == canonical

    @given(faces)
    def test_it_is_read_as_it_is_written(self, face):
        assert MinFace.parse(str(face)) == face
        assert _is_min_face(str(face))

    @pytest.mark.parametrize(("text", "written"), [("0.0001%", "0.0001%"), ("0.5000%", "0.5%"), ("10.25", "10.25")])
    def test_a_run_takes_what_was_parsed(self, text, written):
        assert str(MinFace.parse(text)) == written
        assert _is_min_face(written)
        assert _is_min_face(text) == (text == written)

    @given(st.text(max_size=12))
    @example("1%\n2%")
    def test_anything_else_is_refused_and_nothing_else_happens(self, text):
        try:
            face = MinFace.parse(text)
        except UsageError:
            return
        assert MinFace.parse(str(face)) == face
        assert face.pixels(4000) >= LEAST


@pytest.mark.parametrize(
    ("text", "longest", "pixels"),
    [("1%", 4000, 40), ("1%", 1000, 20), ("1%", 2000, 20), ("2%", 4000, 80), ("0.1%", 4000, 20), ("20", 4000, 20), ("10", 4000, 10)],
)
def test_a_share_is_twenty_pixels_at_least_and_pixels_are_what_they_are(text, longest, pixels):
    assert MinFace.parse(text).pixels(longest) == pixels


@pytest.mark.parametrize(
    ("text", "sizes", "reduction", "side"),
    [
        ("1%", (4000, 3000), 4, 1000),  # 40 px are 10 there
        ("1%", (6000, 4000), 4, 1200),  # 60 px would be 15 there
        ("1%", (2000, 1500), 2, 1000),
        ("1%", (1999, 1500), 1, 1200),  # decoded in full
        ("1%", (1280, 960), 1, 768),
        ("1%", (1000, 750), 1, 600),
        ("1%", (640, 480), 1, 384),
        ("1%", (500, 400), 1, 320),
        ("20", (4000, 3000), 1, 3600),  # 20 px are 18 there
        ("32", (4000, 3000), 2, 2000),
        ("40", (4000, 3000), 2, 1800),
        ("40", (1000, 750), 1, 450),
        ("20", (1000, 750), 1, 900),
        ("10", (4000, 3000), 1, 4000),
        ("4%", (4000, 3000), 8, 320),  # 300 would do
        ("4%", (10000, 3000), 8, 320),
        ("1%", (112, 112), 1, 224),
        ("100%", (4000, 7), 4, 320),  # no side vanishes
        ("10", (11000, 9000), 1, 11000),
    ],
)
def test_sizes_of_some_pictures(text, sizes, reduction, side):
    face = MinFace.parse(text)
    assert face.reduction(*sizes) == reduction
    assert face.finest_side(*sizes) == side


@given(faces, lengths, lengths)
def test_the_smallest_face_has_what_it_may_in_the_finest_level(face, one, other):
    longest, shortest = sizes_of(one, other)
    side, floor = face.finest_side(longest, shortest), min(SMALLEST_SIDE, ENLARGE * longest)
    there = face.pixels(longest) * side / longest
    assert side >= floor
    if side > floor:
        least = min(LEVEL_LEAST * face.most, face.pixels(longest))  # nothing is enlarged
        assert least - 1e-9 <= there <= face.most + face.pixels(longest) / longest + 1e-9  # sides are whole pixels


@given(faces, lengths, lengths)
def test_a_picture_is_decoded_as_coarsely_as_that_allows(face, one, other):
    longest, shortest = sizes_of(one, other)
    reduction = face.reduction(longest, shortest)
    assert reduction in (1, *REDUCTIONS)

    def allowed(factor):
        large = longest >= max(REDUCED_FROM, factor * SMALLEST_SIDE) and shortest >= factor
        return large and face.pixels(longest) / factor >= LEVEL_LEAST * face.most

    assert reduction == max((factor for factor in REDUCTIONS if allowed(factor)), default=1)
    # no level is finer than what was decoded, but for pictures that are enlarged
    assert longest < SMALLEST_SIDE or face.finest_side(longest, shortest) <= -(-longest // reduction)


@given(faces, faces, lengths, lengths)
def test_a_larger_face_never_costs_more(face, other, one, another):
    sizes = sizes_of(one, another)
    assume(face.relative == other.relative)
    small, large = sorted((face, other), key=lambda each: each.pixels(sizes[0]))
    assert small.reduction(*sizes) <= large.reduction(*sizes)


@given(st.lists(st.floats(0, 20), max_size=5), lengths, lengths)
def test_crops_are_cut_where_each_of_their_pixels_has_one_of_the_picture(scales, one, other):
    longest, shortest = sizes_of(one, other)
    reduction = crop_reduction(scales, longest, shortest)
    assert reduction == 1 or (all(scale * reduction <= 1 for scale in scales) and shortest >= reduction)
    finer = [factor for factor in REDUCTIONS if factor > reduction and shortest >= factor]
    assert all(any(scale * factor > 1 for scale in scales) for factor in finer)


@given(st.none() | st.integers(1, 5000), lengths, lengths)
def test_the_rule_of_earlier_releases_leaves_a_side_that_is_long_enough(side, one, other):
    longest, shortest = sizes_of(one, other)
    reduction = not_above(side)(longest, shortest)
    assert reduction == 1 or (side is not None and longest / reduction >= side)
    assert side is not None or reduction == in_full(longest, shortest) == 1


@given(faces)
def test_a_run_keeps_how_finely_it_searched(face):
    assert MinFace.of_run(str(face), face.finest_px) == face
    assert MinFace.of_run(str(face), None).most == LEVEL_MOST  # as runs of earlier releases


def test_the_default_is_one_per_cent():
    assert MinFace.parse(DEFAULT) == MinFace(1, relative=True)
    assert MinFace.parse(DEFAULT).pixels(1) == LEAST_OF_SHARE
