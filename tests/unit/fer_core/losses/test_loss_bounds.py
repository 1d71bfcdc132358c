import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from fer_core.losses.bounds import check, cosine_gap, largest_probability, smallest_scale
from fer_core.losses.choice import build
from fer_core.losses.objective import LossConfig, LossKind
from tests.support.loss_cases import EMBEDDING, loss_of, simplex


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_the_simplex_has_the_gap(classes: int) -> None:
    cosines = F.normalize(simplex(classes)) @ F.normalize(simplex(classes)).T
    gaps = (cosines.diagonal().unsqueeze(1) - cosines)[~torch.eye(classes, dtype=torch.bool)]
    assert gaps.tolist() == pytest.approx([cosine_gap(classes)] * len(gaps))


@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_faces_on_the_simplex_reach_the_largest_probability(margin: float) -> None:
    """And with the margin the loss sees exactly its logarithm."""
    loss = build(LossConfig("cosface", margin=margin), 6.0, 8, 8)
    value = loss(simplex(8), simplex(8), torch.eye(8, dtype=torch.float64)).item()
    assert value == pytest.approx(-math.log(largest_probability(6.0, 8, margin)), abs=1e-12)


@given(st.integers(0, 999), st.integers(2, 8), st.sampled_from([1.0, 6.0, 16.0]), st.sampled_from([0.0, 0.3]))
def test_nothing_is_better_than_the_simplex(seed: int, classes: int, scale: float, margin: float) -> None:
    """Whatever the directions, the mean over classes is never below what `largest_probability` allows."""
    generator = torch.Generator().manual_seed(seed)
    faces, centers = (torch.randn(classes, EMBEDDING, generator=generator, dtype=torch.float64) for _ in range(2))
    near = F.normalize(centers) + 0.1 * F.normalize(faces)
    loss = loss_of("cosface", classes, scale, margin=margin)
    least = -math.log(largest_probability(scale, classes, margin))
    for embeddings in (faces, near, centers):
        assert loss(embeddings, centers, torch.eye(classes, dtype=torch.float64)).item() >= least - 1e-9


@pytest.mark.parametrize("start", range(3))
def test_descent_does_not_get_below_the_bound_but_near(start: int) -> None:
    generator = torch.Generator().manual_seed(start)
    faces, centers = (torch.randn(4, 6, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2))
    loss = loss_of("cosface", 4, 4.0, margin=0.2)
    optimiser = torch.optim.Adam([faces, centers], lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        value = loss(faces, centers, torch.eye(4, dtype=torch.float64))
        value.backward()
        optimiser.step()
    least = -math.log(largest_probability(4.0, 4, 0.2))
    assert least - 1e-9 <= value.item() < least + 1e-3


@given(st.floats(0.2, 0.9999), st.integers(5, 12), st.floats(0, 1))
def test_scale_and_probability_are_inverse(probability: float, classes: int, margin: float) -> None:
    assert largest_probability(smallest_scale(probability, classes, margin), classes, margin) == pytest.approx(probability)


def test_figures_of_the_method_text() -> None:
    assert cosine_gap(8) == pytest.approx(1.1429, abs=1e-4)
    assert [round(largest_probability(s, 8), 4) for s in (1, 2, 4, 8)] == [0.3094, 0.5841, 0.9325, 0.9993]
    assert 1 - largest_probability(16, 8) == pytest.approx(8.0e-8, rel=0.02)
    assert [round(smallest_scale(p, 8), 2) for p in (0.78, 0.99, 0.999)] == [2.81, 5.72, 7.75]
    assert round(smallest_scale(0.99, 8, 0.1), 2) == 6.27
    gaps = [round(smallest_scale(0.99, 8) * cosine_gap(8) / s, 2) for s in (8, 16, 32, 64)]
    assert gaps == [0.82, 0.41, 0.20, 0.10]
    assert largest_probability(16, 8, cosine_gap(8)) == pytest.approx(1 / 8)


def test_one_class() -> None:
    assert cosine_gap(1) == math.inf
    assert largest_probability(16, 1) == 1
    check(16, 5.0, 1)


@pytest.mark.parametrize("probability", [0.1, 1.0, float("nan")])
def test_probabilities_that_no_scale_gives(probability: float) -> None:
    with pytest.raises(ValueError, match="between 1 / 8 and 1"):
        smallest_scale(probability, 8)


@pytest.mark.parametrize("kind", ["center_cosine", "cosface"])
def test_a_loss_out_of_bounds_is_refused(kind: LossKind) -> None:
    build(LossConfig(kind, margin=1.1428), 16, 8, EMBEDDING)
    build(LossConfig(kind, margin=1.2), 16, 5, EMBEDDING)
    for margin, classes in ((8 / 7, 8), (1.2, 8), (2.0, 2)):
        with pytest.raises(ValueError, match="margin"):
            build(LossConfig(kind, margin=margin), 16, classes, EMBEDDING)
    for scale in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="scale"):
            build(LossConfig(kind), scale, 8, EMBEDDING)
