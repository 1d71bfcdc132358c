"""How many aligned faces a second a model labels on one core: batches of 64, mirror images included, as `ferflow label` calls it.

python -m benchmarks.throughput.predict_speed [--model tiny] [--batches 20]

Prints one JSON object: faces a second of the fastest, the median and the slowest batch, and the median's ratio to both passes of the bare
network whose batch norms are not folded.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from fer_core.models.network import on_device
from fer_core.models.store import load_model, resolve_model
from fer_core.predict.predictor import Predictor
from fer_core.predict.torch_backend import BATCH


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--batches", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    ref = resolve_model(args.model)
    crops = np.random.default_rng(0).integers(0, 256, (BATCH, 112, 112, 3), np.uint8)
    predictor = Predictor(ref, "cpu")
    network = on_device(load_model(ref)[0], torch.device("cpu"))
    faces = torch.from_numpy(crops).permute(0, 3, 1, 2).float()

    def plain() -> None:
        with torch.inference_mode():
            network.logits(network(faces))
            network.logits(network(faces.flip(-1)))

    whole, bare = _seconds([lambda: _predict(predictor, crops), plain], args.batches)
    print(
        json.dumps(
            {
                "model": ref.name,
                "digest": ref.digest,
                "faces_per_second": {
                    "fastest": round(BATCH / min(whole), 1),
                    "median": round(BATCH / statistics.median(whole), 1),
                    "slowest": round(BATCH / max(whole), 1),
                },
                "time_over_unfolded": round(statistics.median(whole) / statistics.median(bare), 2),
            }
        )
    )


def _predict(predictor: Predictor, crops: np.ndarray) -> None:
    predictor.predict(crops)


def _seconds(calls: list[Callable[[], None]], rounds: int) -> list[list[float]]:
    """Seconds of each call, in turns, so that a busy moment hits all alike; one round to warm up."""
    taken: list[list[float]] = [[] for _ in calls]
    for number in range(rounds + 1):
        for call, kept in zip(calls, taken, strict=True):
            start = time.perf_counter()
            call()
            if number:
                kept.append(time.perf_counter() - start)
    return taken


if __name__ == "__main__":
    main()
