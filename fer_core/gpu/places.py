"""From the candidates of all tiles to the faces of all pictures, on the device, without a synchronisation with the host.

Every step has a fixed capacity and counts what exceeds it; the caller then repeats it with a larger one. The result of a picture depends
neither on the capacity, as long as it suffices, nor on the other pictures of the batch.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from fer_core.detect.builtin.detector import AGREEING
from fer_core.detect.image_pyramid import EDGE

ROW: Final = 15
"""Box, five points, score, as `decode_outputs.Rows`."""
PAIRS: Final = 2**25
"""Pairs of detections that are compared at a time: bounds the memory to about a gigabyte."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Network outputs for n tiles of one shape, N places each."""

    rows: Tensor
    """(n, N, 15) in pixels of the tiles."""
    picture: Tensor
    """(n,) int64."""
    slot: Tensor
    """(n,) int64: number of the tile in its picture."""
    geometry: Tensor
    """(n, 8) as `plan.Pass` has it."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The best K places of each of P pictures, in its pixels, by falling score; ties by x0, then y0."""

    rows: Tensor
    """(P, K, 15); those that are not there are zero."""
    valid: Tensor
    """(P, K) bool."""
    counts: Tensor
    """(P,) int64: number of all candidates."""


def gather_candidates(findings: list[Findings], pictures: int, pieces: int, weakest: float, capacity: int) -> Candidates:
    """The places that score at least `weakest` and that no tile's edge cuts. pieces: most tiles of a picture."""
    device = findings[0].rows.device
    table = torch.zeros(pictures * pieces, capacity, ROW, device=device)
    counts = torch.zeros(pictures, dtype=torch.int64, device=device)
    for found in findings:
        valid = _whole(found) & (found.rows[..., 14] >= weakest)
        counts.index_add_(0, found.picture, valid.sum(1))
        order = _falling(torch.where(valid, found.rows[..., 14], -1.0))[:, :capacity]
        best = torch.where(_pick(valid, order)[..., None], _placed(_pick(found.rows, order), found.geometry), 0.0)
        table[found.picture * pieces + found.slot, : order.shape[1]] = best
    rows = table.view(pictures, pieces * capacity, ROW)
    rows = _pick(rows, _falling(rows[..., 14]))[:, :capacity]  # places that are there score above zero
    rows = _pick(rows, ordered(rows))
    return Candidates(rows, rows[..., 14] > 0, counts)


def ordered(rows: Tensor) -> Tensor:
    """(..., K, 15) -> indices (..., K) by falling score; ties by x0, then y0."""
    order = rows[..., 1].argsort(dim=-1, stable=True)
    order = order.gather(-1, rows[..., 0].gather(-1, order).argsort(dim=-1, stable=True))
    return order.gather(-1, rows[..., 14].gather(-1, order).argsort(dim=-1, stable=True, descending=True))


def box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """(..., N, 4), (..., M, 4) -> (..., N, M) intersection over union; empty boxes overlap nothing."""
    a, b = boxes[..., :, None, :], others[..., None, :, :]
    sides = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    shared = sides[..., 0] * sides[..., 1]
    union = _area(a) + _area(b) - shared
    return torch.where(union > 0, shared / union, 0.0)


def nms(boxes: Tensor, valid: Tensor, owner: Tensor, overlap: float, rounds: int) -> tuple[Tensor, Tensor]:
    """Greedy non-maximum suppression of P pictures at once.

    boxes: (P, K, 4) best first; valid: (P, K) bool; owner: (P, K), only boxes of one owner suppress each other. Returns which are
    kept, (P, K), and whether `rounds` sufficed, () bool; K rounds always do. A round drops what overlaps a better one that is still kept:
    after r rounds everything is decided whose chain of better neighbours is no longer than r, and crowds have chains of a dozen.
    """
    count = boxes.shape[1]
    earlier = torch.ones(count, count, dtype=torch.bool, device=boxes.device).tril(-1)
    keeps, settled = [], []
    share = max(1, PAIRS // max(1, count * count))
    for part, there, own in zip(torch.split(boxes, share), torch.split(valid, share), torch.split(owner, share), strict=True):
        exact = torch.bfloat16 if part.is_cuda else torch.float32  # sums of zeros and ones: only whether they are zero matters
        alike = own[:, :, None] == own[:, None, :]
        rivals = ((box_iou(part, part) >= overlap) & earlier & alike & there[:, None, :]).to(exact)
        keep, before = there, there
        for _ in range(rounds):
            before, keep = keep, there & (torch.bmm(rivals, keep.to(exact)[..., None])[..., 0] == 0)
        keeps.append(keep)
        settled.append((before == keep).all() if rounds < count else torch.ones((), dtype=torch.bool, device=boxes.device))
    return torch.cat(keeps), torch.stack(settled).all()


def pack_faces(keep: Tensor, capacity: int) -> tuple[Tensor, Tensor]:
    """(P, K) bool -> flat indices of the first `capacity` that are true, in order, (capacity,), and how many there are, () int64.

    Beyond their number the index is P * K.
    """
    flat = keep.flatten()
    number = flat.cumsum(0) - 1
    target = torch.where(flat & (number < capacity), number, capacity)
    index = torch.full((capacity + 1,), len(flat), dtype=torch.int64, device=keep.device)
    index.scatter_(0, target, torch.arange(len(flat), device=keep.device))
    index[capacity] = len(flat)
    return index[:capacity], flat.sum()


def averaged(candidates: Candidates, index: Tensor) -> tuple[Tensor, Tensor]:
    """Detections to keep, (T,) from `pack_faces` -> their rows (T, 15) as in `detector.averaged`, and their pictures (T,).

    Where there is none the row is zero and the picture P.
    """
    pictures, count, _ = candidates.rows.shape
    there = index < pictures * count
    picture = torch.where(there, index.div(count, rounding_mode="floor"), pictures)
    best = candidates.rows.view(-1, ROW)[index.clamp(max=pictures * count - 1)]
    out = []
    owner = picture.clamp(max=pictures - 1)
    for part, own in zip(torch.split(best, _share(count)), torch.split(owner, _share(count)), strict=True):
        rows = candidates.rows[own]  # (t, K, 15)
        agree = (box_iou(part[:, None, :4], rows[..., :4])[:, 0] >= AGREEING) & candidates.valid[own]
        weights = torch.where(agree, rows[..., 14], 0.0).double()  # in double precision the sums do not depend on the capacity
        mean = torch.bmm(weights[:, None], rows.double())[:, 0] / weights.sum(1, keepdim=True).clamp(min=1e-9)
        out.append(torch.cat([mean[:, :14].float(), part[:, 14:]], 1))
    return torch.where(there[:, None], torch.cat(out), 0.0), picture


def _share(count: int) -> int:
    """Rows that are compared with `count` candidates each at a time."""
    return max(1, PAIRS // (ROW * count))


def _whole(found: Findings) -> Tensor:
    """(n, N) bool: finite, and not cut by a tile's edge."""
    cut = found.geometry[:, None, 4:]
    low, high = found.rows[..., :2] > cut[..., :2] + EDGE, found.rows[..., 2:4] < cut[..., 2:] - EDGE
    return (low & high).all(-1) & found.rows.isfinite().all(-1)


def _placed(rows: Tensor, geometry: Tensor) -> Tensor:
    """(n, K, 15) in pixels of the tiles -> of the pictures."""
    origin, scale = geometry[:, None, :2].repeat(1, 1, 7), geometry[:, None, 2:4].repeat(1, 1, 7)
    return torch.cat([(rows[..., :14] + origin) * scale, rows[..., 14:]], -1)


def _falling(scores: Tensor) -> Tensor:
    return scores.argsort(dim=-1, stable=True, descending=True)


def _pick(values: Tensor, order: Tensor) -> Tensor:
    """(n, N[, C]) at (n, K) -> (n, K[, C])."""
    if values.ndim == 2:
        return values.gather(1, order)
    return values.gather(1, order[..., None].expand(-1, -1, values.shape[2]))


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
