"""What every loss has to do, whichever it is."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fer_core.losses.choice import build, classifier_of
from fer_core.losses.objective import LossConfig, LossKind
from tests.support.loss_cases import EMBEDDING, KINDS, case, loss_of

HEAVY = {"center": {"compactness": 0.3}, "island": {"compactness": 0.3, "separation": 0.5}}
"""Weights large enough that no term hides behind another."""


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_against_finite_differences(kind: LossKind, weighted: bool) -> None:
    x = case(4, 5)
    loss = loss_of(kind, 5, **HEAVY.get(kind, {}))
    own = tuple(loss.parameters())
    assert bool(own) == (kind in HEAVY)
    inputs = (x.embeddings.requires_grad_(), x.centers.requires_grad_(), *own)
    weights = x.weights if weighted else None
    assert torch.autograd.gradcheck(lambda e, c, *_: loss(e, c, x.targets, weights), inputs)
    assert all(bool((g != 0).any()) for g in torch.autograd.grad(loss(*inputs[:2], x.targets, weights), inputs))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_act_as_repetition(kind: LossKind) -> None:
    x, loss = case(3, 5), loss_of(kind, 5)
    again = torch.tensor([0, 1, 1, 2, 2, 2])
    repeated = loss(x.embeddings[again], x.centers, x.targets[again])
    for unit in (1.0, 0.25):
        weighted = loss(x.embeddings, x.centers, x.targets, unit * torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
        assert weighted.item() == pytest.approx(repeated.item(), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_face_of_weight_zero_does_not_count(kind: LossKind) -> None:
    x, loss = case(3, 5), loss_of(kind, 5)
    weights = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    some = loss(x.embeddings[:2], x.centers, x.targets[:2])
    assert loss(x.embeddings, x.centers, x.targets, weights).item() == pytest.approx(some.item(), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_no_faces_cost_nothing_but_what_the_classes_cost(kind: LossKind) -> None:
    x, loss = case(3, 5), loss_of(kind, 5)
    classes = loss.of_classes(x.centers).item()
    assert (classes > 0) == (kind in {"center_cosine", "island"})
    assert loss(x.embeddings, x.centers, x.targets, torch.zeros(3, dtype=torch.float64)).item() == classes
    assert loss(x.embeddings[:0], x.centers, x.targets[:0]).item() == classes
    assert loss(x.embeddings[:0], x.centers, x.targets[:0], x.weights[:0]).item() == classes


@pytest.mark.parametrize("kind", KINDS)
def test_soft_targets_are_the_expectation_over_raters(kind: LossKind) -> None:
    """But for the margin of the center cosine loss, which has a test of its own."""
    x = case(1, 5)
    loss = loss_of(kind, 5, **({"margin": 0} if kind == "center_cosine" else {}))
    answers = loss.of_faces(x.embeddings.expand(5, -1), x.centers, torch.eye(5, dtype=torch.float64))
    assert loss.of_faces(x.embeddings, x.centers, x.targets).item() == pytest.approx((x.targets[0] @ answers).item(), abs=1e-12)
    assert answers.std().item() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_classes_does_not_matter(kind: LossKind) -> None:
    x, loss = case(4, 5), loss_of(kind, 5)
    before = loss(x.embeddings, x.centers, x.targets, x.weights).item()
    turn = torch.tensor([3, 0, 4, 1, 2])
    for means in loss.parameters():
        means.data = means.data[turn]
    assert loss(x.embeddings, x.centers[turn], x.targets[:, turn], x.weights).item() == pytest.approx(before, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_count_for_the_linear_classifier_only(kind: LossKind) -> None:
    x, loss = case(4, 5), loss_of(kind, 5)
    before = loss(x.embeddings, x.centers, x.targets).item()
    longer = (loss(3 * x.embeddings, x.centers, x.targets).item(), loss(x.embeddings, 3 * x.centers, x.targets).item())
    same = [value == pytest.approx(before, abs=1e-9) for value in longer]
    assert same == [classifier_of(kind) == "cosine"] * 2


@settings(deadline=None, max_examples=120)
@given(
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    batch=st.integers(1, 3),
    classes=st.integers(1, 9),
    scale=st.sampled_from([1.0, 16.0, 64.0]),
    zeros=st.sets(st.sampled_from(["embeddings", "one embedding", "centers", "one center", "weights", "own", "margin"])),
    equal=st.booleans(),
    seed=st.integers(0, 99),
)
def test_loss_and_gradients_are_always_finite(
    kind: LossKind, dtype: torch.dtype, batch: int, classes: int, scale: float, zeros: set[str], equal: bool, seed: int
) -> None:
    """bfloat16: under autocast, where the network's embeddings are of that type and all parameters of float32."""
    full = torch.float32 if dtype == torch.bfloat16 else dtype
    x = case(batch, classes, seed, full)
    loss = loss_of(kind, classes, scale, full, **({"margin": 0} if "margin" in zeros and "cos" in kind else {}))
    embeddings, centers, targets, weights = x.embeddings.to(dtype), x.centers, F.one_hot(x.targets.argmax(1), classes), x.weights
    if equal:
        centers[:] = centers[0].clone()
    embeddings[: batch if "embeddings" in zeros else "one embedding" in zeros] = 0
    centers[: classes if "centers" in zeros else "one center" in zeros] = 0
    weights[: batch if "weights" in zeros else 0] = 0
    for means in loss.parameters():
        means.data[: classes if "own" in zeros else 0] = 0
    inputs = (embeddings.requires_grad_(), centers.requires_grad_(), *loss.parameters())
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        value = loss(embeddings, centers, targets.to(full), weights)
    gradients = torch.autograd.grad(value, inputs)
    assert value.ndim == 0
    assert value.dtype == full
    assert value.isfinite()
    assert all(bool(g.isfinite().all()) and g.abs().max().item() < 1e4 for g in gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_changes_nothing(kind: LossKind) -> None:
    """A network under autocast hands over embeddings in bfloat16; from there on it is float32."""
    x, loss = case(8, 5, dtype=torch.float32), loss_of(kind, 5, dtype=torch.float32)
    half = x.embeddings.bfloat16()
    expected = loss(half.float(), x.centers, x.targets, x.weights)
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(half, x.centers, x.targets, x.weights).item() == expected.item()
        assert loss(half.float(), x.centers, x.targets, x.weights).item() == expected.item()


@pytest.mark.parametrize("kind", KINDS)
def test_float64_is_kept(kind: LossKind) -> None:
    x, loss = case(4, 5), loss_of(kind, 5)
    low = loss.float()(x.embeddings.float(), x.centers.float(), x.targets.float())
    high = loss.double()(x.embeddings, x.centers, x.targets)
    assert high.dtype == torch.float64
    assert 0 < abs(high.item() - low.item()) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_descent_learns_to_tell_classes(kind: LossKind) -> None:
    """Eight expressions in 32 directions, one of them rare: a linear map, a batch norm and the usual numbers of each loss."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor([0] * 60 + [1] * 40 + [2, 3, 4, 5, 6] * 20 + [7] * 5)
    x = torch.randn(8, 32, generator=generator)[truth] + 0.5 * torch.randn(len(truth), 32, generator=generator)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(32, 16), torch.nn.BatchNorm1d(16))
    centers = torch.nn.Parameter(torch.nn.init.orthogonal_(torch.empty(8, 16)))
    loss = build(LossConfig(kind), 16.0, 8, 16)
    optimiser = torch.optim.SGD([*network.parameters(), centers, *loss.parameters()], lr=0.05, momentum=0.9)
    targets = F.one_hot(truth, 8).float()
    values = []
    for _ in range(150):
        value: Tensor = loss(network(x), centers, targets)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(value.item())
    embeddings = network(x).detach()
    if classifier_of(kind) == "cosine":
        embeddings, rows = F.normalize(embeddings), F.normalize(centers.detach())
    else:
        rows = centers.detach()
    assert values[-1] < values[0]
    assert bool(((embeddings @ rows.T).argmax(1) == truth).all())


def test_each_kind_has_its_loss_and_classifier() -> None:
    kinds = {kind: classifier_of(kind) for kind in KINDS}
    assert kinds == {"center_cosine": "cosine", "cross_entropy": "linear", "center": "linear", "cosface": "cosine", "island": "linear"}
    built = [build(LossConfig(kind), 16, 8, EMBEDDING) for kind in KINDS]
    assert [loss.classifier for loss in built] == list(kinds.values())
    assert [type(loss).__name__ for loss in built] == ["CenterCosineLoss", "CrossEntropyLoss", "CenterLoss", "CosFaceLoss", "IslandLoss"]


def test_only_means_are_learned_besides_the_network() -> None:
    for kind in KINDS:
        shapes = {name: tuple(p.shape) for name, p in loss_of(kind, 5).named_parameters()}
        assert shapes == ({"scaled_means": (5, EMBEDDING)} if kind in {"center", "island"} else {})
