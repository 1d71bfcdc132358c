"""Copies, recorded functions, and which pictures the GPU may decode."""

import numpy as np
import torch

from fer_core.gpu.graphs import Graphs
from fer_core.gpu.pinned_transfer import Downloads, Uploads

CPU = torch.device("cpu")


class TestCopies:
    def test_everything_arrives(self):
        drawn = np.random.default_rng(0)
        pictures = [drawn.integers(0, 256, (*shape, 3), np.uint8) for shape in ((3, 5), (1, 1), (40, 7))]
        pictures.append(pictures[0][::-1, ::2])
        tables = [drawn.normal(size=(3, 4)).astype(np.float32), np.arange(5), np.zeros((0, 2), np.float32), np.array([True, False])]
        flat, sent = Uploads(CPU).send(pictures, tables)
        assert (flat.numpy() == np.concatenate([picture.reshape(-1, 3) for picture in pictures])).all()
        for there, table in zip(sent, tables, strict=True):
            assert there.numpy().dtype == table.dtype
            assert there.shape == table.shape
            assert (there.numpy() == table).all()

    def test_what_was_sent_outlives_the_buffers(self):
        uploads = Uploads(CPU)
        sent = [uploads.send([], [np.full(1000, number)])[1][0] for number in range(6)]
        assert [there.unique().tolist() for there in sent] == [[number] for number in range(6)]

    def test_everything_comes_back(self):
        downloads = Downloads(CPU)
        tensors = [torch.arange(6).view(2, 3), torch.rand(3, 1), torch.zeros((0, 4)), torch.rand(4, 5).T, torch.tensor([True])]
        for one, tensor in zip(downloads.fetch(tensors).wait(), tensors, strict=True):
            assert one.shape == tuple(tensor.shape)
            assert (one == tensor.numpy()).all()

    def test_downloads_on_their_way_do_not_meet(self):
        downloads = Downloads(CPU)
        waiting = [downloads.fetch([torch.full((10,), number)]) for number in range(4)]
        assert [download.wait()[0][0] for download in reversed(waiting)] == [3, 2, 1, 0]
        again = downloads.fetch([torch.full((10,), 9)])
        assert again.wait()[0][0] == 9


class Recording:
    """Stands in for CUDA: replays by calling, into the result's own memory."""

    def __init__(self):
        self.shapes, self.replayed = [], 0

    def __call__(self, function, example):
        self.shapes.append(tuple(example.shape))
        result = torch.empty_like(function(example))

        def replay(x):
            self.replayed += 1
            return result.copy_(function(x))

        return replay


class TestGraphs:
    def test_each_shape_is_recorded_once(self):
        recording = Recording()
        graphs = Graphs(lambda x: x * 2, recording)
        for size in (3, 4, 3, 3):
            assert graphs(torch.ones(size)).tolist() == [2.0] * size
        assert recording.shapes == [(3,), (4,)]
        assert recording.replayed == 4

    def test_results_stay_what_they_were(self):
        graphs = Graphs(lambda x: x + 1, Recording())
        first, second = graphs(torch.zeros(2)), graphs(torch.ones(2))
        assert (first.tolist(), second.tolist()) == ([1, 1], [2, 2])

    def test_beyond_the_bound_nothing_is_recorded_but_all_is_answered(self):
        recording = Recording()
        graphs = Graphs(lambda x: -x, recording, most=2)
        for size in (1, 2, 3, 4, 1):
            assert graphs(torch.ones(size)).tolist() == [-1.0] * size
        assert (graphs.recorded, recording.replayed) == (2, 3)

    def test_without_cuda_it_is_the_function(self):
        graphs = Graphs(torch.square, None)
        assert graphs(torch.tensor([3.0])).item() == 9
        assert graphs.recorded == 0
