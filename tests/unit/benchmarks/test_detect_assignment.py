"""Which places answer for which face, and what the network is punished for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.detector.training.assignment import CELLS, FITTEST, REACHES, Truth, assigned, box_iou
from benchmarks.detector.training.detection_loss import detection_loss, generalised_overlap
from fer_core.detect.builtin.network import STRIDES, DetectionConfig, DetectionNet
from tests.support import made_faces  # noqa: F401  (one thread)

SIDE = 256
RARE = -6.0


def cost(seen, truth):
    return detection_loss(seen, truth, assigned(seen, truth))


def blank(batch=1, side=SIDE):
    """A network that sees nothing: tiny boxes far outside the picture."""
    torch.manual_seed(0)
    seen = DetectionNet(DetectionConfig((2, 2), (2, 2, 2), (1, 1, 1), 2)).eval()(torch.zeros(batch, 3, side, side))
    nowhere = torch.full_like(seen.boxes, -1000.0)
    nowhere[..., 2:] += 1
    return replace(seen, logits=torch.full_like(seen.logits, RARE), boxes=nowhere, points=torch.zeros_like(seen.points))


def everywhere(box, logit=0.0):
    """A network that says the same box at every place."""
    seen = blank()
    boxes = torch.tensor(box, dtype=torch.float32).expand_as(seen.boxes).clone()
    return replace(seen, logits=torch.full_like(seen.logits, logit), boxes=boxes)


def squares(*faces, unsure=(), batch=1):
    """(x, y, side) of the middles and sides of faces, the same in each scene."""
    boxes = torch.tensor([[x - side / 2, y - side / 2, x + side / 2, y + side / 2] for x, y, side in faces]).view(-1, 4)
    points = (boxes[:, :2] + boxes[:, 2:])[:, None].expand(-1, 5, 2) / 2 + torch.arange(5.0)[None, :, None]
    marked = torch.tensor([index in unsure for index in range(len(faces))], dtype=torch.bool)
    return Truth(*(part.expand(batch, *part.shape).clone() for part in (boxes, points, ~marked, marked)))


def padded(told, count):
    """`count` rows that are nothing."""
    batch = told.boxes.shape[0]
    return Truth(
        torch.cat([told.boxes, torch.zeros(batch, count, 4)], 1),
        torch.cat([told.points, torch.zeros(batch, count, 5, 2)], 1),
        torch.cat([told.known, torch.zeros(batch, count, dtype=torch.bool)], 1),
        torch.cat([told.unsure, torch.zeros(batch, count, dtype=torch.bool)], 1),
    )


def levels(seen):
    """(N,) level of each place."""
    return torch.cat([torch.full((rows * columns,), level) for level, (rows, columns) in enumerate(seen.grids)])


def nearest(seen, x, y, level):
    """Index of the place of a level that is nearest to a pixel."""
    far = (seen.centres - torch.tensor([x, y])).norm(dim=1)
    return int(torch.where(levels(seen) == level, far, torch.inf).argmin())


class TestAssignment:
    def test_a_perfect_answer_is_told_to_stay(self):
        seen, told = blank(), squares((100, 90, 40))
        place = nearest(seen, 100.0, 90.0, 0)
        seen.logits[0, place], seen.boxes[0, place] = 8.0, told.boxes[0, 0]
        assignment = assigned(seen, told)
        assert assignment.positive[0, place]
        assert assignment.face[0, place] == 0
        assert assignment.target[0, place] > 0.99
        others = torch.arange(seen.logits.shape[1]) != place
        assert assignment.target[0, others].max() < 1e-3
        assert assignment.judged.all()

    def test_the_target_is_the_overlap_of_the_fittest(self):
        told = squares((100, 90, 40))
        box = told.boxes[0, 0] + torch.tensor([10.0, 0, 10, 0])
        assignment = assigned(everywhere(box.tolist()), told)
        assert assignment.target.max().item() == pytest.approx(30 / 50, abs=1e-4)

    def test_a_better_box_makes_a_better_place(self):
        seen, told = everywhere((95, 70, 135, 110)), squares((100, 90, 40))
        place = nearest(seen, 100.0, 90.0, 0)
        seen.boxes[0, place] = told.boxes[0, 0]
        target = assigned(seen, told).target[0]
        assert target.argmax() == place
        assert target[place] > 0.99
        assert 0 < target[target > 0].min() < 0.5

    @settings(deadline=None, max_examples=40)
    @given(st.lists(st.tuples(st.floats(0, SIDE), st.floats(0, SIDE), st.floats(4, 250)), min_size=1, max_size=6), st.integers(0, 99))
    def test_what_holds_for_any_faces(self, faces, seed):
        """A few places a face, inside its box and near its middle; a place for one face; none without."""
        generator = torch.Generator().manual_seed(seed)
        seen, told = blank(), squares(*faces)
        seen.logits.normal_(generator=generator)
        seen.boxes[..., :2] = seen.centres - 100 * torch.rand(seen.boxes[..., 2:].shape, generator=generator)
        seen.boxes[..., 2:] = seen.centres + 100 * torch.rand(seen.boxes[..., 2:].shape, generator=generator)
        assignment = assigned(seen, told)
        stride = torch.tensor(STRIDES, dtype=torch.float32)[levels(seen)]
        for index, (x, y, side) in enumerate(faces):
            mine = assignment.positive[0] & (assignment.face[0] == index)
            assert mine.sum() <= FITTEST
            apart = (seen.centres[mine] - torch.tensor([x, y])).abs().amax(1)
            assert (apart <= torch.maximum(torch.tensor(side / 2), stride[mine] / 2) + 0.05).all()
            assert (apart <= (CELLS + 1) * stride[mine]).all()
            assert all(REACHES[level][0] <= side * 1.001 and side * 0.999 < REACHES[level][1] for level in levels(seen)[mine].tolist())
        assert (assignment.target[~assignment.positive] == 0).all()
        assert ((assignment.target >= 0) & (assignment.target <= 1)).all()
        assert (assignment.face[assignment.positive] < len(faces)).all()
        assert assignment.judged.all()

    @pytest.mark.parametrize(
        ("side", "expected"), [(12, {0}), (24, {0}), (40, {0, 1}), (70, {0, 1}), (100, {1, 2}), (160, {1, 2}), (220, {2})]
    )
    def test_levels_by_size(self, side, expected):
        told = squares((128, 128, side))
        seen = everywhere(told.boxes[0, 0].tolist())
        positive = assigned(seen, told).positive[0]
        assert set(levels(seen)[positive].tolist()) == expected

    def test_a_tiny_face_has_the_place_it_lies_in(self):
        told = squares((99, 85, 2))
        seen = everywhere(told.boxes[0, 0].tolist())
        assignment = assigned(seen, told)
        assert assignment.positive[0].nonzero().flatten().tolist() == [nearest(seen, 99.0, 85.0, 0)]

    def test_two_faces_share_no_place(self):
        """The one that a place sees better keeps it."""
        seen, told = blank(), squares((100, 100, 40), (108, 100, 40))
        left = seen.centres[:, 0] < 104
        seen.boxes[0] = torch.where(left[:, None], told.boxes[0, 0], told.boxes[0, 1])
        assignment = assigned(seen, told)
        positive, face = assignment.positive[0], assignment.face[0]
        assert {0, 1} == set(face[positive].tolist())
        best = assignment.target[0] > 0.5
        assert (face[best & left] == 0).all()
        assert (face[best & ~left] == 1).all()
        assert (best & left).any()
        assert (best & ~left).any()

    def test_faces_at_the_border_stay_on_the_grid(self):
        told = squares((0, 0, 40), (SIDE, SIDE, 40), (SIDE, 0, 40))
        assignment = assigned(everywhere((0, 0, 20, 20)), told)
        assert set(assignment.face[assignment.positive].tolist()) == {0, 1, 2}

    def test_unsure_boxes_are_not_judged(self):
        seen, told = blank(), squares((60, 60, 40), (180, 180, 60), unsure=(1,))
        assignment = assigned(seen, told)
        x, y = seen.centres.T
        inside = (x >= 150) & (x <= 210) & (y >= 150) & (y <= 210)
        assert torch.equal(assignment.judged[0], ~inside)
        assert set(assignment.face[assignment.positive].tolist()) == {0}

    def test_a_known_face_in_an_unsure_box_is_judged(self):
        seen, told = blank(), squares((128, 128, 20), (128, 128, 200), unsure=(1,))
        assignment = assigned(seen, told)
        assert assignment.judged[assignment.positive].all()
        assert assignment.positive.any()
        assert not assignment.judged.all()

    def test_padding_changes_nothing(self):
        told = squares((60, 60, 40), (180, 180, 60), unsure=(1,))
        seen = everywhere((40, 40, 80, 80))
        plain, more = assigned(seen, told), assigned(seen, padded(told, 5))
        for part in ("face", "positive", "target", "judged"):
            assert torch.equal(getattr(plain, part), getattr(more, part))

    def test_scenes_of_a_batch_are_apart(self):
        """Each scene of a batch gets what it gets alone."""
        seen = blank(2)
        one, two = squares((60, 60, 40)), squares((180, 180, 90), unsure=(0,))
        together = assigned(
            seen, Truth(*(torch.cat([getattr(each, part) for each in (one, two)]) for part in ("boxes", "points", "known", "unsure")))
        )
        alone = [assigned(blank(), each) for each in (one, two)]
        for part in ("positive", "target", "judged"):
            assert torch.equal(getattr(together, part), torch.cat([getattr(each, part) for each in alone]))

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_no_face(self, count):
        told = padded(squares(), count)
        assignment = assigned(blank(), told)
        assert not assignment.positive.any()
        assert assignment.judged.all()
        assert (assignment.target == 0).all()


class TestLoss:
    @pytest.mark.parametrize("told", [padded(squares(batch=2), 1), squares((60, 60, 40), unsure=(0,), batch=2)])
    def test_without_a_face_scores_alone_are_punished(self, told):
        network = DetectionNet(DetectionConfig((4, 4), (4, 4, 4), (1, 1, 1), 4), norm=True)
        loss = cost(network(torch.rand(2, 3, SIDE, SIDE) * 255), told)
        assert loss.score > 0
        assert loss.box == loss.points == 0
        loss.total.backward()
        for name, parameter in network.named_parameters():
            assert torch.isfinite(parameter.grad).all(), name
        assert any(parameter.grad.abs().sum() > 0 for parameter in network.parameters())

    def test_every_number_is_taught_by_a_face(self):
        torch.manual_seed(0)
        network = DetectionNet(DetectionConfig((4, 4), (4, 4, 4), (1, 1, 1), 4), norm=True)
        for output, size in zip(network.outputs, (20 / 8, 60 / 16, 200 / 32), strict=True):
            output.bias.data[3:5] = np.log(size)  # a box inside the face's, or around it, can move without any gain
        cost(
            network(torch.rand(1, 3, SIDE, SIDE) * 255), squares((61.3, 58.9, 20), (197.1, 66.2, 60), (123.4, 131.7, 200))
        ).total.backward()
        for output in network.outputs:
            assert (output.bias.grad != 0).all()

    def test_a_perfect_answer_costs_nothing(self):
        seen, told = blank(), squares((100, 90, 40))
        place = nearest(seen, 100.0, 90.0, 0)
        seen.logits.fill_(-12.0)
        seen.logits[0, place], seen.boxes[0, place], seen.points[0, place] = 12.0, told.boxes[0, 0], told.points[0, 0]
        assert cost(seen, told).total < 1e-3

    def test_better_boxes_cost_less(self):
        told = squares((100, 90, 40))
        costs = [cost(everywhere((told.boxes[0, 0] + shift).tolist()), told).box.item() for shift in (16, 12, 8, 4, 0)]
        weights = [assigned(everywhere((told.boxes[0, 0] + shift).tolist()), told).target.sum().item() for shift in (16, 12, 8, 4, 0)]
        each = [cost * max(1, weight) / weight for cost, weight in zip(costs, weights, strict=True)]
        assert each == sorted(each, reverse=True)
        assert each[0] > 0.5
        assert costs[-1] == pytest.approx(0, abs=1e-5)

    def test_better_points_cost_less(self):
        told = squares((100, 90, 40))
        costs = []
        for off in (20.0, 10.0, 4.0, 0.0):
            seen = everywhere(told.boxes[0, 0].tolist())
            seen.points[:] = told.points[0, 0] + torch.tensor([off, 0])
            costs.append(cost(seen, told).points.item())
        assert costs == pytest.approx([0.5, 0.25, 0.1, 0], abs=1e-3)  # in parts of the face's side

    def test_scores_of_unsure_places_cost_nothing(self):
        seen, told = blank(), squares((180, 180, 60), unsure=(0,))
        before = cost(seen, told).total
        seen.logits[0, nearest(seen, 180.0, 180.0, 0)] = 5.0
        assert cost(seen, told).total == before
        seen.logits[0, nearest(seen, 20.0, 20.0, 0)] = 5.0
        assert cost(seen, told).total > before + 1

    def test_following_the_gradient_finds_the_face(self):
        told = squares((100, 90, 40), (40, 180, 80))
        start = blank()
        logits, boxes, points = (
            start.logits,
            torch.cat([start.centres - 15, start.centres + 15], 1)[None],
            start.centres[None, :, None].expand(-1, -1, 5, 2),
        )
        parts = [part.clone().requires_grad_() for part in (logits, boxes, points)]
        optimiser = torch.optim.Adam([{"params": parts[0], "lr": 0.3}, {"params": parts[1:], "lr": 1.0}])
        costs = []
        for _ in range(80):
            loss = cost(replace(start, logits=parts[0], boxes=parts[1], points=parts[2]), told).total
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            costs.append(loss.item())
        assert np.mean(costs[-5:]) < 0.2 * np.mean(costs[:5])
        best = parts[0][0].topk(2).indices
        found = box_iou(parts[1][0][best][:, None], told.boxes[0]).amax(0)
        assert found.max() > 0.7


numbers = st.floats(-50, 50, width=32)
box = st.tuples(numbers, numbers, st.floats(0.125, 60, width=32), st.floats(0.125, 60, width=32)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


def plain_overlap(one, two):
    """IoU and GIoU of two boxes, by the book."""
    area = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, two)]
    wide, high = min(one[2], two[2]) - max(one[0], two[0]), min(one[3], two[3]) - max(one[1], two[1])
    shared = wide * high if wide > 0 and high > 0 else 0.0
    union = area[0] + area[1] - shared
    around = (max(one[2], two[2]) - min(one[0], two[0])) * (max(one[3], two[3]) - min(one[1], two[1]))
    return shared / union, shared / union - (around - union) / around


@settings(deadline=None)
@given(st.lists(st.tuples(box, box), min_size=1, max_size=8))
def test_overlaps_are_those_of_the_book(pairs):
    one, two = (torch.tensor([pair[side] for pair in pairs]).view(-1, 4) for side in (0, 1))
    expected = np.array([plain_overlap(*pair) for pair in zip(one.double().tolist(), two.double().tolist(), strict=True)])
    assert np.allclose(box_iou(one, two), expected[:, 0], atol=2e-3)
    assert np.allclose(generalised_overlap(one, two), expected[:, 1], atol=2e-3)
    assert np.allclose(generalised_overlap(two, one), generalised_overlap(one, two), atol=1e-6)


@given(box)
def test_a_box_overlaps_itself(one):
    single = torch.tensor([one])
    assert box_iou(single, single).item() == pytest.approx(1, abs=2e-3)
    assert generalised_overlap(single, single).item() == pytest.approx(1, abs=2e-3)


def test_empty_boxes_have_finite_overlaps():
    empty = torch.zeros(1, 4, requires_grad=True)
    value = generalised_overlap(empty, torch.zeros(1, 4)) + box_iou(empty, torch.zeros(1, 4))
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(empty.grad).all()


def test_no_boxes():
    assert generalised_overlap(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)
