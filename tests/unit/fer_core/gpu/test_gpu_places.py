"""Findings of many pictures at once against the reference, one picture after another."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.detect import base
from fer_core.detect.builtin import detector
from fer_core.detect.image_pyramid import Tile
from fer_core.gpu.capacity import Capacity
from fer_core.gpu.places import Candidates, Findings, averaged, box_iou, gather_candidates, nms, ordered, pack_faces

INF = np.inf


def findings(count, seed, spread=300.0):
    """(count, 15) boxes around a few faces, scores from 0 to 1."""
    drawn = np.random.default_rng(seed)
    heads = drawn.uniform(0, spread, (max(1, count // 8), 2))
    middle = heads[drawn.integers(len(heads), size=count)] + drawn.normal(0, 6, (count, 2))
    half = drawn.uniform(15, 30, (count, 2))
    points = middle[:, None] + drawn.normal(0, 10, (count, 5, 2))
    scores = drawn.uniform(0.05, 1, count).round(2)  # ties
    return np.concatenate([middle - half, middle + half, points.reshape(-1, 10), scores[:, None]], 1).astype(np.float32)


def candidates(rows, capacity):
    table = torch.zeros(1, capacity, 15)
    table[0, : len(rows)] = torch.from_numpy(rows)
    table = table[:, ordered(table)[0]]
    return Candidates(table, table[..., 14] > 0, torch.tensor([len(rows)]))


def kept_of(rows, rounds=64):
    found = candidates(rows, len(rows) + 5)
    keep, settled = nms(found.rows[..., :4], found.valid, torch.zeros(found.valid.shape), detector.NMS_THRESHOLD, rounds)
    return found.rows[0][keep[0]].numpy(), bool(settled)


@given(st.integers(1, 120), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_suppression_is_the_references(count, seed):
    rows = findings(count, seed)
    kept, settled = kept_of(rows)
    assert settled
    assert (kept == rows[base.nms(rows[:, :4], rows[:, 14], detector.NMS_THRESHOLD)]).all()


def chain(length):
    """Each overlaps the next, and the scores fall: every second one stays."""
    rows = np.zeros((length, 15), np.float32)
    rows[:, 0] = 4 * np.arange(length)
    rows[:, 2:4] = rows[:, :2] + [10, 10]
    rows[:, 14] = 0.9 - 0.005 * np.arange(length)
    return rows


def test_a_chain_longer_than_the_rounds_is_told():
    kept, settled = kept_of(chain(40), rounds=8)
    assert not settled
    kept, settled = kept_of(chain(40), rounds=45)
    assert settled
    assert kept[:, 0].tolist() == [8.0 * number for number in range(20)]


def test_only_boxes_of_one_owner_suppress_each_other():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]]])
    keep, _ = nms(boxes, torch.ones(1, 3, dtype=torch.bool), torch.tensor([[0, 1, 0]]), 0.4, 8)
    assert keep.tolist() == [[True, True, False]]


def pieces_of_two_pictures():
    """Findings of three pieces, of picture 1, 0 and 1, and the same for the reference."""
    geometry = np.array(
        [[0, 0, 2, 2, -INF, -INF, INF, INF], [10, 0, 1, 1, 0, -INF, INF, 200], [100, 50, 1.5, 1.4, 0, 0, 300, INF]], np.float32
    )
    rows = np.stack([findings(50, seed) for seed in range(3)])
    rows[1, 3, 5] = np.nan
    found = [
        Findings(torch.from_numpy(rows[:2]), torch.tensor([1, 0]), torch.tensor([0, 0]), torch.from_numpy(geometry[:2])),
        Findings(torch.from_numpy(rows[2:]), torch.tensor([1]), torch.tensor([1]), torch.from_numpy(geometry[2:])),
    ]
    wanted = [[], []]
    for owner, part, told in zip((1, 0, 1), rows, geometry, strict=True):
        strong = part[part[:, 14] >= detector.WEAK].copy()
        placed = Tile(np.zeros((1, 1, 3), np.uint8), told[:2], told[2:4], told[4:]).placed(strong)
        wanted[owner].append(placed[np.isfinite(placed).all(1)])
    return found, [np.concatenate(parts) for parts in wanted]


def test_what_is_gathered_is_what_the_reference_keeps():
    found, wanted = pieces_of_two_pictures()
    got = gather_candidates(found, 2, 2, detector.WEAK, 128)
    assert got.counts.tolist() == [len(rows) for rows in wanted]
    for rows, valid, expected in zip(got.rows, got.valid, wanted, strict=True):
        order = np.lexsort((expected[:, 1], expected[:, 0], -expected[:, 14]))
        assert np.allclose(rows[valid].numpy(), expected[order], atol=1e-4)


def test_with_too_little_room_the_best_are_kept_and_all_are_counted():
    found, wanted = pieces_of_two_pictures()
    got, all_of_them = gather_candidates(found, 2, 2, detector.WEAK, 16), gather_candidates(found, 2, 2, detector.WEAK, 128)
    assert got.counts.tolist() == [len(rows) for rows in wanted]
    assert (got.rows[..., 14] == all_of_them.rows[:, :16, 14]).all()


@pytest.mark.parametrize("capacity", [80, 200])
def test_averages_are_the_references_whatever_the_room(capacity):
    rows = findings(80, 5)
    found = candidates(rows, capacity)
    keep, _ = nms(found.rows[..., :4], found.valid, torch.zeros(found.valid.shape), detector.NMS_THRESHOLD, 64)
    index, total = pack_faces(keep, 64)
    got, picture = averaged(found, index)
    kept = base.nms(rows[:, :4], rows[:, 14], detector.NMS_THRESHOLD)
    assert int(total) == len(kept)
    assert np.allclose(got[: len(kept)].numpy(), detector.averaged(rows, kept), atol=1e-3)
    assert picture.tolist() == [0] * len(kept) + [1] * (64 - len(kept))
    assert (got[len(kept) :] == 0).all()


def test_packing_counts_what_does_not_fit():
    keep = torch.tensor([[False, True, True], [True, False, True]])
    index, total = pack_faces(keep, 3)
    assert (index.tolist(), int(total)) == ([1, 2, 3], 4)
    index, total = pack_faces(keep, 6)
    assert (index.tolist(), int(total)) == ([1, 2, 3, 5, 6, 6], 4)
    index, total = pack_faces(torch.zeros(2, 3, dtype=torch.bool), 2)
    assert (index.tolist(), int(total)) == ([6, 6], 0)


def test_overlaps_are_the_references():
    rows = findings(40, 9)[:, :4]
    rows[0, 2:] = rows[0, :2]
    assert np.allclose(box_iou(torch.from_numpy(rows), torch.from_numpy(rows)).numpy(), base.box_iou(rows, rows), atol=1e-5)


def test_room_doubles_is_bounded_and_is_forgotten_again():
    room = Capacity(64, 1000)
    assert [room.at_least(count) for count in (0, 1, 64, 65, 300, 5000)] == [64, 64, 64, 128, 512, 1000]
    assert room.size == 64
    room.observe(130)
    assert room.size == 256
    for _ in range(8):
        room.observe(10)
    assert room.size == 64
