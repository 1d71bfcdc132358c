"""The GPU's looker, on the CPU, against the reference: the same faces, the same crops."""

import cv2
import numpy as np
import pytest
import torch
from skimage import data
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fer_core.align.face_extractor import CpuFaceExtractor
from fer_core.decode.min_face import Look
from fer_core.detect.base import box_iou
from fer_core.detect.builtin.detector import CANDIDATES, BuiltinDetector
from fer_core.gpu.capacity import Capacity
from fer_core.gpu.face_extractor import BATCH_PICTURES, BATCH_PIXELS, GpuFaceExtractor, _batches, _Room, tiles_per_batch
from fer_core.gpu.integral import Pictures
from fer_core.gpu.places import Findings
from fer_core.gpu.plan import plan_batch
from fer_core.gpu.predictor import FacePass
from fer_core.gpu.pyramid import batch_tiles
from fer_core.models.store import load_model, resolve_model
from fer_core.timing import Stopwatch

torch.set_num_threads(1)
CPU = torch.device("cpu")
LEAST = 16.0


def extractor(dtype=torch.float32):
    """Filling up batches costs a CPU what it does not cost a GPU."""
    return GpuFaceExtractor(device=CPU, dtype=dtype, piece_pixels=1, second_looks=8)


def look(with_, pictures, least=LEAST):
    return with_.extract(pictures, [Look(least)] * len(pictures), Stopwatch())


def face(side):
    """The astronaut's head in a square of so many pixels, its face about half of them high."""
    return cv2.resize(data.astronaut()[10:250, 105:345], (side, side), interpolation=cv2.INTER_AREA)


def crowd(rows, columns, side):
    """(H, W, 3) heads side by side, no two alike."""
    drawn = np.random.default_rng(0)
    each = [[np.clip(face(side) * drawn.uniform(0.7, 1.1), 0, 255) for _ in range(columns)] for _ in range(rows)]
    return np.concatenate([np.concatenate(row, 1) for row in each]).astype(np.uint8)


def odd_pictures():
    noise = np.random.default_rng(1).integers(0, 256, (5000, 3), np.uint8)
    return [noise[:1][None], noise[None], noise[:, None], np.full((200, 700, 3), 90, np.uint8), noise[:6].reshape(2, 3, 3)]


def photographs():
    astronaut = data.astronaut()
    return [
        astronaut,
        astronaut[:300, 100:400],
        astronaut[:, ::-1],
        cv2.resize(astronaut, (700, 1000)),
        cv2.resize(astronaut, (300, 200)),
        astronaut[:, 215:],
    ]


def same(extracted, wanted, pixels=0.1, share=0.02, levels=2.0, scores=0.01):
    """Whether two lookers agree: to `pixels`, or a `share` of the face's side. Faces of nearly one score may change places."""
    assert len(extracted) == len(wanted)
    for ours, theirs in zip(extracted, wanted, strict=True):
        assert len(ours.faces) == len(theirs.faces) == len(ours.crops)
        if not len(ours.faces):
            continue
        order = box_iou(theirs.faces.boxes, ours.faces.boxes).argmax(axis=1)
        assert len(set(order)) == len(order)
        found = ours.faces.take(order)
        near = np.maximum(pixels, share * np.sqrt(np.prod(found.boxes[:, 2:] - found.boxes[:, :2], axis=1)))
        assert (np.abs(found.boxes - theirs.faces.boxes).max(axis=1) <= near).all()
        assert (np.abs(found.points - theirs.faces.points).max(axis=(1, 2)) <= near).all()
        assert np.allclose(found.scores, theirs.faces.scores, atol=scores)
        assert np.abs(ours.crops[order].astype(float) - theirs.crops).mean() < levels


def identical(extracted, wanted):
    for ours, theirs in zip(extracted, wanted, strict=True):
        for name in ("boxes", "points", "scores"):
            assert (getattr(ours.faces, name) == getattr(theirs.faces, name)).all()
        assert (ours.crops == theirs.crops).all()


@pytest.fixture(scope="module")
def shown():
    return [*photographs(), *odd_pictures()]


@pytest.fixture(scope="module")
def reference(shown):
    return look(CpuFaceExtractor(BuiltinDetector(quantized=False)), shown)


@pytest.fixture(scope="module")
def in_single(shown):
    return look(extractor(), shown)


def test_single_precision_is_the_reference(in_single, reference):
    assert sum(len(one.faces) for one in reference) >= 6
    same(in_single, reference)


def test_half_precisions_are_close(shown, reference):
    same(look(extractor(torch.float16), shown[:3]), reference[:3], pixels=0.3)
    same(look(extractor(torch.bfloat16), shown[:3]), reference[:3], pixels=1.0, levels=4, scores=0.02)


def test_the_company_changes_nothing(shown, in_single):
    """Not even a bit, in another order and in other batches."""
    alone = extractor()
    some = [3, 1, 6]
    identical([each for number in some for each in look(alone, [shown[number]])], [in_single[number] for number in some])
    identical(look(alone, [shown[number] for number in (5, 3, 3)]), [in_single[number] for number in (5, 3, 3)])


def test_each_picture_is_searched_as_finely_as_it_is_asked_for(shown):
    """Two of one size in different ways, and each with a smallest face of its own."""
    pictures = [*shown[:3], shown[0], shown[0]]
    looks = [Look(10.0, 320), Look(20.0, 500), Look(10.0), Look(10.0, 640), Look(400.0, 320)]
    wanted = CpuFaceExtractor(BuiltinDetector(quantized=False)).extract(pictures, looks, Stopwatch())
    assert [len(one.faces) > 0 for one in wanted] == [True, True, True, True, False]
    assert not np.array_equal(wanted[0].faces.boxes, wanted[3].faces.boxes)
    same(extractor().extract(pictures, looks, Stopwatch()), wanted)


def test_nothing_to_look_at():
    assert look(extractor(), []) == []


def test_small_faces_do_not_count(shown, reference):
    size = float(np.min(reference[0].faces.boxes[0, 2:] - reference[0].faces.boxes[0, :2]))
    assert len(look(extractor(), shown[:1], size + 1)[0].faces) == 0
    assert len(look(extractor(), shown[:1], size - 1)[0].faces) == 1


def test_a_crowd_and_a_batch_that_did_not_expect_it():
    """Room is made once, and kept for the pictures that follow."""
    picture = crowd(5, 8, 56)
    wanted = look(CpuFaceExtractor(BuiltinDetector(quantized=False)), [picture])
    assert len(wanted[0].faces) > 32
    ours = extractor()
    found = look(ours, [picture])
    assert ours.repeated == 1
    same(found, wanted)
    assert ours._faces.size >= len(found[0].faces)


def test_too_many_faces_for_a_batch_are_looked_at_in_halves():
    pictures = [crowd(3, 4, 56), face(120), crowd(3, 3, 56)]
    wanted = look(extractor(), pictures)
    assert len(wanted[0].faces) > 10
    narrow = extractor()
    narrow._faces = Capacity(4, 16)
    identical(look(narrow, pictures), wanted)
    assert narrow.repeated >= 1


def test_more_candidates_than_any_room_are_cut_as_the_reference_cuts_them(monkeypatch):
    monkeypatch.setattr("fer_core.detect.builtin.detector.CANDIDATES", 20)
    picture = crowd(4, 6, 48)
    wanted = look(CpuFaceExtractor(BuiltinDetector(quantized=False)), [picture])
    narrow = extractor()
    narrow._candidates = Capacity(16, 20)
    found = look(narrow, [picture])
    assert 0 < len(found[0].faces) < 24
    same(found, wanted)


def test_a_picture_of_many_tiles():
    y, x = np.mgrid[:1700, :2600].astype(np.float32)
    picture = np.stack([60 + x / 40, 120 + y / 60, 200 - x / 60], -1).astype(np.uint8)
    for side, left, top in ((60, 1200, 800), (110, 1260, 1500), (900, 300, 400)):
        picture[top : top + side, left : left + side] = face(side)
    wanted = look(CpuFaceExtractor(BuiltinDetector(quantized=False)), [picture])
    assert len(wanted[0].faces) >= 3
    same(look(extractor(), [picture]), wanted)


def test_batches_are_bounded_by_pictures_and_by_pixels():
    small, large = np.zeros((10, 10, 3), np.uint8), np.broadcast_to(np.zeros(3, np.uint8), (BATCH_PIXELS // 1000 + 1, 1000, 3))
    assert [len(batch) for batch in _batches([small] * (2 * BATCH_PICTURES + 3))] == [BATCH_PICTURES, BATCH_PICTURES, 3]
    assert [len(batch) for batch in _batches([small, large, small, small])] == [1, 1, 2]


def test_how_many_pieces_pass_together_hangs_on_their_shape_alone():
    assert [tiles_per_batch(area, 2**22) for area in (64 * 64, 640 * 640, 1280 * 1280, 2**23)] == [1024, 8, 2, 1]


def on_meta(module):
    return module.to("meta")


def test_the_host_is_never_asked(monkeypatch):
    """On tensors without values, every question about a value and every stray tensor of another device is an error."""
    meta = torch.device("meta")
    plan = plan_batch([(300, 400), (1400, 900), (300, 400)], 4096)
    ours = extractor(torch.float16)
    ours._device, ours._network, ours._downloads = meta, on_meta(ours._network), Telling()
    flat = torch.empty((int(plan.sizes.prod(1).sum()), 3), dtype=torch.uint8, device=meta)
    with torch.inference_mode(), NothingFromTheHost() as watched:
        pictures = Pictures.of(flat, plan.groups, torch.from_numpy(plan.sizes).to(meta))
        findings = [
            Findings(ours._through(pieces), *(torch.from_numpy(table).to(meta) for table in (each.picture, each.slot, each.geometry)))
            for each, pieces in zip(plan.passes, batch_tiles(plan, flat, torch.float16), strict=True)
        ]
        told, boxes, rows, picture, crops = ours._settled(pictures, findings, plan.pieces, _Room(CANDIDATES, 128, 16))
        assert [each.shape for each in (boxes, rows, picture, crops)] == [(128, 4), (128, 15), (128,), (128, 112, 112, 3)]
        assert {each.device.type for each in (told, boxes, rows, picture, crops)} == {"meta"}
        network, spec = load_model(resolve_model("tiny"))
        faces = FacePass(network, spec, meta, torch.float16)
        watched.allowed = False  # from here on, even to send a constant would make the host wait
        for name in ("tensor", "as_tensor", "from_numpy"):
            monkeypatch.setattr(torch, name, None)  # on such a device the first two send nothing that could be watched
        assert faces(torch.empty((64, 112, 112, 3), dtype=torch.uint8, device=meta)).shape == (64, 8)
        ours._settled(pictures, findings, plan.pieces, _Room(CANDIDATES, 128, 16))


class NothingFromTheHost(TorchDispatchMode):
    """Fails where an operation makes a tensor of the host, or is given one, unless that is `allowed`."""

    allowed = True

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, torch.Tensor)]
        assert self.allowed or all(tensor.device.type != "cpu" for tensor in tensors), function
        return out


class Telling:
    """Hands back what should be fetched."""

    def fetch(self, tensors):
        return tensors
