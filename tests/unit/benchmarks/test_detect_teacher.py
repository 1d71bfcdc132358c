"""The teacher's labels: looks are joined a face, mirrored ones are put right, and each face is looked at again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmarks.detector.training.teacher import FACE_SIDES, WORTH, Teacher, grouped, mirrored
from fer_core.detect.base import box_iou
from tests.support import made_faces  # noqa: F401  (one thread)

PLACES = np.array([[0.25, 0.3], [0.75, 0.35], [0.55, 0.55], [0.3, 0.8], [0.7, 0.75]])
"""Where the five points lie in a painted square."""


class Eye:
    """Sees red rectangles as a YuNet sees faces; from `least` pixels of width up, with `score`."""

    def __init__(self, least=1, most=10_000, score=0.9):
        self.least, self.most, self.score, self.widths, self.sizes = least, most, score, [], []

    def rows(self, look, margin):
        assert margin == 0
        assert look.flags.c_contiguous
        assert look.dtype == np.uint8
        self.sizes.append(look.shape[1::-1])
        red = (look[..., 0] > 128) & (look[..., 2] < 128)
        if not red.any():
            return np.zeros((0, 15), np.float32)
        across, down = np.flatnonzero(red.any(0)), np.flatnonzero(red.any(1))
        low, high = np.array([across[0], down[0]]), np.array([across[-1], down[-1]]) + 1
        if not self.least <= high[0] - low[0] <= self.most:
            return np.zeros((0, 15), np.float32)
        self.widths.append(int(high[0] - low[0]))
        return np.array([[*low, *high, *(low + PLACES * (high - low)).reshape(-1), self.score]], np.float32)


def painted(shape=(300, 400), box=(120, 80, 200, 170)):
    picture = np.full((*shape, 3), 255, np.uint8)
    x0, y0, x1, y1 = box
    picture[y0:y1, x0:x1] = (255, 0, 0)
    return picture


def row(box, score, points=0.0):
    return [*box, *([points] * 10), score]


rows = st.integers(0, 6).flatmap(lambda n: arrays(np.float64, (n, 15), elements=st.floats(-500, 500)))


@settings(deadline=None)
@given(rows, st.floats(1, 1000))
def test_mirrored_twice_is_as_before(found, width):
    assert np.allclose(mirrored(mirrored(found, width), width), found)


def test_mirrored_points_keep_their_names():
    face = np.array([[10, 20, 30, 60, 14, 30, 26, 31, 21, 40, 15, 50, 25, 52, 0.8]], float)
    turned = mirrored(face, 100)[0]
    assert turned[:4].tolist() == [70, 20, 90, 60]
    assert turned[4:14].reshape(5, 2).tolist() == [[74, 31], [86, 30], [79, 40], [75, 52], [85, 50]]
    assert turned[14] == 0.8


class TestGrouping:
    def test_one_row_a_face_by_falling_score(self):
        found = np.array([row((200, 0, 300, 100), 0.5), row((0, 0, 100, 100), 0.9), row((205, 0, 305, 100), 0.6)])
        faces = grouped(found, np.array([0, 0, 1]), 1)
        assert faces.shape == (2, 15)
        assert faces[:, 14].tolist() == [0.9, 0.6]

    def test_numbers_are_weighted_by_score(self):
        found = np.array([row((0, 0, 100, 100), 0.9, 10), row((20, 0, 120, 100), 0.3, 50)])
        face = grouped(found, np.array([0, 1]), 1)[0]
        assert np.allclose(face[:4], [5, 0, 105, 100])
        assert np.allclose(face[4:14], 20)

    @pytest.mark.parametrize(("best", "score"), [(1, 0.9), (2, 0.8), (3, 0.7), (4, 0.525)])
    def test_the_score_is_the_mean_of_the_best_looks(self, best, score):
        """Looks that see nothing count as 0."""
        found = np.array([row((0, 0, 100, 100), each) for each in (0.5, 0.9, 0.7)])
        assert grouped(found, np.array([0, 1, 2]), best)[0, 14] == pytest.approx(score)

    def test_of_one_look_the_best_row_counts(self):
        found = np.array([row((0, 0, 100, 100), 0.6), row((30, 0, 130, 100), 0.5)])
        face = grouped(found, np.array([4, 4]), 2)
        assert len(face) == 1
        assert face[0, :4].tolist() == [0, 0, 100, 100]
        assert face[0, 14] == pytest.approx(0.3)

    def test_nothing_stays_nothing(self):
        assert grouped(np.zeros((0, 15)), np.zeros(0, np.intp), 2).shape == (0, 15)

    def test_an_empty_box_ends(self):
        """It overlaps nothing, not even itself."""
        assert len(grouped(np.array([row((5, 5, 5, 5), 0.9)]), np.array([0]), 1)) == 1

    @settings(deadline=None)
    @given(
        st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300), st.floats(0.2, 1), st.integers(0, 3)), max_size=12), st.integers(1, 4)
    )
    def test_every_finding_belongs_to_one_face(self, found, best):
        table = np.array([row((x, y, x + 60, y + 60), score) for x, y, score, _ in found]).reshape(-1, 15)
        faces = grouped(table, np.array([look for *_, look in found], np.intp), best)
        assert (np.diff(faces[:, 14]) <= 0).all()
        assert len(faces) <= len(table)
        if len(table):
            assert faces[0, 14] <= table[:, 14].max() + 1e-9
            assert box_iou(table[:, :4], faces[:, :4]).max(axis=1).min() > 0.1


class TestTeacher:
    def test_a_painted_face_is_labelled_where_it_is(self):
        faces = Teacher([Eye()], (200, 400, 600)).faces(painted())
        assert len(faces) == 1
        assert np.allclose(faces.boxes, [[120, 80, 200, 170]], atol=1)
        assert faces.scores[0] == pytest.approx(0.9)
        assert faces.boxes.dtype == faces.points.dtype == faces.scores.dtype == np.float32

    def test_points_are_means_of_looks_and_mirrored_looks(self):
        """The made network points at the same places in a mirrored face, so that the mean is symmetric."""
        faces = Teacher([Eye()], (400,)).faces(painted())
        mirrored_places = (PLACES * [-1, 1] + [1, 0])[[1, 0, 2, 4, 3]]
        expected = np.array([120, 80]) + (PLACES + mirrored_places) / 2 * [80, 90]
        assert np.allclose(faces.points[0], expected, atol=1)

    @pytest.mark.parametrize(
        ("least", "score"),
        [(1, 0.9), (100, 0.9), (150, 0.45), (230, 0)],
    )
    def test_a_face_that_few_looks_see_is_doubtful(self, least, score):
        """Six sizes and two mirror images: the best four of twelve looks. The face is 80 of 400 px wide."""
        faces = Teacher([Eye(least)], (100, 200, 300, 400, 600, 800)).faces(painted())
        if score == 0:
            assert len(faces) == 0
        else:
            assert faces.scores[0] == pytest.approx(score)

    def test_faces_are_looked_at_again_at_a_good_size(self):
        eye = Eye()
        Teacher([eye], (400,)).faces(painted())
        again = eye.widths[2:]
        assert len(again) == 2 * len(FACE_SIDES)  # mirrored or not
        assert np.allclose(np.array(again) * 90 / 80, np.repeat(FACE_SIDES, 2), atol=4)  # the longer side of the face

    def test_second_looks_place_the_face(self):
        """A network that is wrong by a third of the face when it is small."""

        class Short(Eye):
            def rows(self, look, margin):
                found = super().rows(look, margin)
                width = found[:, 2] - found[:, 0]
                if len(found) and width[0] < 150:
                    found[:, 2] -= 0.33 * width
                return found

        box = Teacher([Short()], (400,)).faces(painted()).boxes[0]
        assert np.allclose(box, [120, 80, 200, 170], atol=1)

    def test_a_face_lost_on_the_second_look_stays_as_it_was(self):
        faces = Teacher([Eye(most=100)], (400,)).faces(painted())
        assert np.allclose(faces.boxes, [[120, 80, 200, 170]], atol=1)
        assert faces.scores[0] == pytest.approx(0.9)

    def test_what_is_nothing_is_not_looked_at_again(self):
        eye = Eye(score=WORTH - 0.05)
        faces = Teacher([eye], (400,)).faces(painted())
        assert len(eye.sizes) == 2
        assert faces.scores[0] == pytest.approx(WORTH - 0.05)

    @pytest.mark.parametrize("box", [(0, 0, 60, 70), (340, 230, 400, 300), (0, 100, 50, 300)])
    def test_faces_at_the_border(self, box):
        faces = Teacher([Eye()], (300, 400, 800)).faces(painted(box=box))
        assert np.allclose(faces.boxes, [box], atol=1)

    def test_networks_label_together(self):
        faces = Teacher([Eye(score=0.9), Eye(score=0.5)], (400,)).faces(painted())
        assert len(faces) == 1
        assert faces.scores[0] == pytest.approx(0.9)  # the best of four looks
        assert Teacher([Eye(), Eye(score=0.5, most=0)], (200, 400, 800)).faces(painted()).scores[0] == pytest.approx(0.9)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 300), (200, 1), (64, 64)])
    def test_no_face(self, shape):
        faces = Teacher([Eye()], (32, 64)).faces(np.full((*shape, 3), 255, np.uint8))
        assert len(faces) == 0
        assert faces.points.shape == (0, 5, 2)
