import pytest
import torch
import torch.nn.functional as F

from fer_core.losses.directions import cosines, pair_cosines, unit
from tests.support.loss_cases import case


def test_unit_and_cosines() -> None:
    x = case(7, 4)
    assert torch.equal(unit(x.embeddings), F.normalize(x.embeddings))
    expected = F.cosine_similarity(x.embeddings[:, None], x.centers[None], dim=2)
    assert torch.allclose(cosines(x.embeddings, x.centers), expected, atol=1e-12)


def test_each_pair_once() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]], dtype=torch.float64)
    assert pair_cosines(vectors).tolist() == pytest.approx([0, -1, 0])
    assert pair_cosines(vectors[:1]).shape == (0,)


@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-13])
def test_a_vector_of_no_length_has_no_direction(length: float) -> None:
    vectors = torch.tensor([[length, 0.0], [3.0, 4.0]], requires_grad=True)
    there = unit(vectors)
    assert there.tolist() == [[0, 0], [pytest.approx(0.6), pytest.approx(0.8)]]
    there.sum().backward()
    assert vectors.grad is not None
    assert vectors.grad[0].tolist() == [0, 0]
    assert vectors.grad[1].abs().sum() > 0
