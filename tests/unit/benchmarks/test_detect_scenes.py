"""Composed scenes: the same ones each time, of every kind, with honest marks; what spoils them; batches of them."""

from collections import Counter

import numpy as np
import pytest
import torch

from benchmarks.detector.training import textures
from benchmarks.detector.training.batches import MOST_FACES, batched, batches, truth
from benchmarks.detector.training.material import LOOSE, PORTRAIT, SCENE, SMALL
from benchmarks.detector.training.placing import Marks
from benchmarks.detector.training.scenes import DOUBTFUL, KINDS, KNOWN, SEEN, SMALLEST, Scene, SceneMaker
from benchmarks.detector.training.spoiling import corrupt, occlude
from fer_core.errors import TrainingError
from tests.support import labelled_pictures

SIDE = 96


@pytest.fixture(scope="module")
def material():
    return labelled_pictures.material()


@pytest.fixture(scope="module")
def maker(material):
    return SceneMaker(material, SIDE, seed=3)


@pytest.fixture(scope="module")
def scenes(maker):
    return [maker.scene(number) for number in range(120)]


def same(scene, other):
    marks, others = scene.marks, other.marks
    pairs = [(scene.pixels, other.pixels), (marks.boxes, others.boxes), (marks.points, others.points), (scene.unsure, other.unsure)]
    return all(np.array_equal(one, two) for one, two in pairs)


class TestScenes:
    def test_the_same_seed_and_number_give_the_same_scene(self, material, maker, scenes):
        again = SceneMaker(material, SIDE, seed=3)
        for number in (40, 3, 3, 17, 0):  # in any order, as often as one likes
            assert same(again.scene(number), scenes[number])
            assert same(maker.scene(number), scenes[number])

    def test_another_number_or_seed_gives_another(self, material, scenes):
        assert not any(same(scenes[0], scene) for scene in scenes[1:])
        assert not same(SceneMaker(material, SIDE, seed=4).scene(0), scenes[0])

    def test_marks_lie_in_the_scene(self, scenes):
        for scene in scenes:
            assert scene.pixels.shape == (SIDE, SIDE, 3)
            assert scene.pixels.dtype == np.uint8
            assert scene.pixels.flags.c_contiguous
            x0, y0, x1, y1 = scene.marks.boxes.T
            assert ((x0 >= 0) & (y0 >= 0) & (x1 <= SIDE) & (y1 <= SIDE) & (x0 < x1) & (y0 < y1)).all()
            assert np.isfinite(scene.marks.points).all()
            assert len(scene.unsure) == len(scene.marks.scores) == len(scene.marks.points)
            assert (scene.marks.scores >= DOUBTFUL).all()

    def test_what_is_asked_for_is_known_and_large_enough(self, scenes):
        asked = Marks.joined([scene.marks.take(~scene.unsure) for scene in scenes])
        assert len(asked.scores) > 100
        assert (asked.scores >= KNOWN).all()
        shown = np.sqrt(np.prod(asked.boxes[:, 2:] - asked.boxes[:, :2], axis=1))
        assert shown.min() >= SMALLEST * np.sqrt(SEEN) * 0.99
        assert shown.min() < 25
        assert shown.max() > 60  # sizes of every kind

    def test_known_faces_look_like_faces_at_their_marks(self, material):
        """Unspoilt scenes: the pupils of the drawn faces are dark, the skin between them is not."""
        maker = SceneMaker(material, 240, seed=1)
        contrast = []
        for number in range(20):
            pixels, marks = maker._mosaic(np.random.default_rng(number))
            for box, points, score in zip(marks.boxes, marks.points, marks.scores, strict=True):
                inside = (points[:2] > box[:2] + 2).all() and (points[:2] < box[2:] - 2).all()
                if score >= KNOWN and inside and box[3] - box[1] > 45:
                    between = points[:2].mean(0)
                    eyes = [int(pixels[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2, 0].min()) for x, y in points[:2]]
                    contrast.append(int(pixels[int(between[1]), int(between[0]), 0]) - max(eyes))
        assert len(contrast) > 20
        assert np.mean(np.array(contrast) > 30) > 0.9

    def test_every_kind_is_reached(self, material, monkeypatch):
        """What a scene begins with tells its kind."""
        maker, reached = SceneMaker(material, SIDE, seed=0), []

        def noted(name, method):
            def noting(*args, **kwargs):
                reached.append((name, args[0].kind == SCENE if name == "_window" else None))
                return method(*args, **kwargs)

            return noting

        for name in ("_window", "_one", "_mosaic", "_heads", "_background"):
            monkeypatch.setattr(maker, name, noted(name, getattr(maker, name)))
        first = Counter()
        for number in range(100):
            reached.clear()
            scene = maker.scene(number)
            first[reached[0]] += 1
            assert len(scene.marks.scores) == 0 or reached[0] != ("_background", None)
        assert len(first) == len(KINDS)
        assert min(first.values()) >= 4

    def test_doubtful_faces_of_one_person_are_nothing_and_those_of_scenes_are_unsure(self, scenes):
        scores = np.concatenate([scene.marks.scores for scene in scenes]).round(4)
        unsure = np.concatenate([scene.unsure for scene in scenes])
        assert not (scores == 0.35).any()
        assert (scores == 0.4).sum() > 10
        assert unsure[scores == 0.4].all()
        assert not np.isin(scores, [0.2, 0.25]).any()

    def test_large_faces_that_the_teacher_is_not_sure_of_are_unsure(self):
        """A hand beside a face; but not the best there is in a picture."""
        street = labelled_pictures.picture(SCENE, "street", (300, 200), [(10, 10, 90, 0.6)])
        person = labelled_pictures.picture(PORTRAIT, "person", (300, 200), [(10, 40, 112, 0.9), (150, 40, 100, 0.65), (260, 90, 40, 0.55)])
        scenes = [SceneMaker([street, person], SIDE, 0).scene(number) for number in range(80)]
        scores = np.concatenate([scene.marks.scores for scene in scenes]).round(4)
        unsure = np.concatenate([scene.unsure for scene in scenes])
        assert not (scores == 0.65).any()
        assert (scores == 0.49).any()
        assert unsure[scores == 0.49].all()
        for kept in (0.6, 0.9, 0.55):
            assert not unsure[scores == kept].all()

    @pytest.mark.parametrize(
        ("box", "score", "expected"),
        [
            ((20, 20, 60, 60), 0.9, "asked"),
            ((20, 20, 60, 60), KNOWN, "asked"),
            ((20, 20, 60, 60), KNOWN - 0.01, "unsure"),
            ((20, 20, 60, 60), DOUBTFUL, "unsure"),
            ((20, 20, 60, 60), DOUBTFUL - 0.01, "gone"),
            ((20, 20, 20 + SMALLEST, 20 + SMALLEST), 0.9, "asked"),
            ((20, 20, 20 + SMALLEST - 0.5, 20 + SMALLEST), 0.9, "unsure"),
            ((-20, 20, 20, 60), 0.9, "asked"),
            ((-30, 20, 10, 60), 0.9, "unsure"),
            ((80, 80, 120, 120), 0.9, "unsure"),
            ((-39, 20, 1, 60), 0.9, "gone"),
            ((-50, 20, -10, 60), 0.9, "gone"),
            ((200, 200, 260, 260), 0.9, "gone"),
        ],
    )
    def test_what_is_asked(self, maker, box, score, expected):
        marks = Marks(np.array([box], float), np.full((1, 5, 2), 30.0), np.array([score]))
        scene = maker._finished(np.zeros((SIDE, SIDE, 3), np.uint8), marks)
        assert len(scene.unsure) == (expected != "gone")
        assert scene.unsure.tolist() == [expected == "unsure"] * len(scene.unsure)

    @pytest.mark.parametrize("kinds", [(), (SCENE,), (PORTRAIT, LOOSE), (SCENE, SMALL)])
    def test_too_little_to_compose_of_is_one_sentence(self, material, kinds):
        with pytest.raises(TrainingError, match="scenes need photographs"):
            SceneMaker([picture for picture in material if picture.kind in kinds], SIDE, 0)

    def test_pictures_without_a_known_face_are_no_people(self):
        nobody = labelled_pictures.picture(PORTRAIT, "nobody", (90, 90), [(10, 10, 60, 0.4)])
        street = labelled_pictures.picture(SCENE, "street", (90, 90), [])
        with pytest.raises(TrainingError):
            SceneMaker([nobody, street], SIDE, 0)


class TestTextures:
    @pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 2), (7, 5), (96, 96), (300, 200)])
    def test_any_size(self, size, monkeypatch):
        reached = set()

        def noted(name, method):
            def noting(*args):
                reached.add(name)
                return method(*args)

            return noting

        for name in ("_flat", "_noise", "_clouds", "_stripes", "_checks", "_shapes"):
            monkeypatch.setattr(textures, name, noted(name, getattr(textures, name)))
        draws = np.random.default_rng(size)
        for _ in range(40):
            made = textures.texture(size, draws)
            assert made.shape == (size[1], size[0], 3)
            assert made.dtype == np.uint8
            assert made.flags.writeable
        assert len(reached) == 6


class TestSpoiling:
    @pytest.mark.parametrize("shape", [(96, 96), (64, 120), (320, 320)])
    def test_shape_and_kind_stay(self, shape):
        rng = np.random.default_rng(0)
        scene = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        changed = 0
        for seed in range(40):
            kept = scene.copy()
            out = corrupt(scene, np.random.default_rng(seed))
            assert out.shape == scene.shape
            assert out.dtype == np.uint8
            assert np.array_equal(scene, kept)
            changed += not np.array_equal(out, scene)
        assert changed > 25

    def test_the_same_draws_spoil_alike(self):
        scene = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        for seed in range(10):
            assert np.array_equal(corrupt(scene, np.random.default_rng(seed)), corrupt(scene, np.random.default_rng(seed)))

    def test_the_picture_stays_in_place(self):
        """No spoiling moves anything: marks need no change."""
        scene = np.zeros((96, 96, 3), np.uint8)
        scene[30:50, 56:76] = 255
        y, x = np.mgrid[:96, :96] + 0.5
        for seed in range(60):
            light = corrupt(scene, np.random.default_rng(seed)).astype(float).sum(2)
            light = np.where(light > (light.max() + light.min()) / 2, 1.0, 0.0)
            middle = np.array([(x * light).sum(), (y * light).sum()]) / light.sum()
            assert np.allclose(middle, [66, 40], atol=1.0)

    def test_grey_scenes_are_among_them(self):
        scene = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        grey = sum(np.ptp(corrupt(scene, np.random.default_rng(seed)).astype(int), axis=2).max() == 0 for seed in range(100))
        assert 3 <= grey <= 30

    def test_covers_hide_half_of_a_face_at_most(self):
        scene = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
        box = np.array([[20.0, 20, 70, 80], [60, 60, 110, 120]])
        hidden = []
        for seed in range(150):
            out = occlude(scene.copy(), Marks(box, np.zeros((2, 5, 2)), np.ones(2)), np.random.default_rng(seed))
            changed = (out != scene).any(2)
            hidden.append(changed[20:80, 20:70].mean())
        assert 0.42 < max(hidden) <= 0.53
        assert 10 <= np.count_nonzero(hidden) <= 75

    def test_nothing_is_covered_without_a_face(self):
        scene = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        assert np.array_equal(occlude(scene.copy(), Marks.none(), np.random.default_rng(0)), scene)


def made_scene(sides, unsure=(), level=0):
    count = len(sides)
    boxes = np.array([[i, i, i + side, i + side] for i, side in enumerate(sides)], float).reshape(-1, 4)
    marks = Marks(boxes, np.arange(count * 10.0).reshape(-1, 5, 2), np.ones(count))
    return Scene(np.full((32, 32, 3), level, np.uint8), marks, np.isin(np.arange(count), unsure))


class TestBatches:
    def test_scenes_are_padded_and_marked(self):
        pictures, faces = batched([made_scene([]), made_scene([5, 9, 7], [1], 9), made_scene([4])])
        assert pictures.shape == (3, 3, 32, 32)
        assert pictures.dtype == torch.uint8
        assert pictures.float().mean((1, 2, 3)).tolist() == [0, 9, 0]
        assert faces.shape == (3, 3, 15)
        assert faces.dtype == torch.float32
        assert faces[..., 14].tolist() == [[0, 0, 0], [2, 1, 1], [1, 0, 0]]
        assert (faces[1, :, 2] - faces[1, :, 0]).tolist() == [9, 7, 5]  # largest first
        told = truth(faces)
        assert told.known.sum(1).tolist() == [0, 2, 1]
        assert told.unsure.sum(1).tolist() == [0, 1, 0]
        assert torch.equal(told.points[1, 0], torch.arange(10.0, 20).view(5, 2))
        assert torch.equal(told.boxes[1, 0], torch.tensor([1.0, 1, 10, 10]))

    def test_scenes_without_a_face(self):
        _, faces = batched([made_scene([]), made_scene([])])
        assert faces.shape == (2, 1, 15)
        assert not truth(faces).known.any()
        assert not truth(faces).unsure.any()

    def test_the_smallest_of_a_crowd_are_neither_rewarded_nor_punished(self):
        sides = np.arange(MOST_FACES + 5) + 1.0
        told = truth(batched([made_scene(sides)])[1])
        found = (told.boxes[..., 2] - told.boxes[..., 0])[0]
        assert sorted(found[told.known[0]].tolist()) == sides[5:].tolist()
        assert sorted(found[told.unsure[0]].tolist()) == sides[:5].tolist()

    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # of os.fork
    def test_processes_change_nothing(self, maker):
        here, there = list(batches(maker, 2, range(5, 9), 0)), list(batches(maker, 2, range(5, 9), 1))
        assert len(here) == len(there) == 4
        for one, two in zip(here, there, strict=True):
            assert torch.equal(one.pictures, two.pictures)
            assert torch.equal(one.truth.boxes, two.truth.boxes)
            assert torch.equal(one.truth.points, two.truth.points)
            assert torch.equal(one.truth.known, two.truth.known)
            assert torch.equal(one.truth.unsure, two.truth.unsure)

    def test_a_batch_does_not_depend_on_where_one_starts(self, maker, scenes):
        late = next(iter(batches(maker, 2, range(7, 8), 0)))
        pictures, faces = batched([scenes[14], scenes[15]])
        assert torch.equal(late.pictures, pictures)
        assert torch.equal(late.truth.boxes, truth(faces).boxes)

    def test_no_batch(self, maker):
        assert list(batches(maker, 2, range(7, 7), 0)) == []
        assert list(batches(maker, 2, range(9, 7), 0)) == []
