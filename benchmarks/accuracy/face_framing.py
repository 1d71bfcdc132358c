"""At what size a detector frames loose crops of faces: time, share of faces that are found, and the accuracy of a model on what it framed.

    python -m benchmarks.accuracy.face_framing --ferplus FERPLUS --detector builtin yunet:FILE --sides 0 320 224 --every 3

FERPLUS: FER+ in its own layout, of which the validation split is used. A side of 0 is what the detector itself chooses. The sizes take
turns, batch by batch, so that their times are comparable. `as the first`: same expression as with the first size.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.common.record import machine, write_record
from fer_core.decode.decoder import decode
from fer_core.detect.registry import build, resolve
from fer_core.evaluation.evaluate import majority_classes
from fer_core.faceset.framing import find_points, frame, mean_points
from fer_core.faceset.importers.ferplus import samples
from fer_core.faceset.importers.raw import LIMITS
from fer_core.models.store import resolve_model
from fer_core.predict.predictor import Predictor

BATCH = 64


@dataclass(slots=True)
class Framing:
    """One detector at one size."""

    detector: str
    side: int
    seconds: float = 0.0
    points: list[NDArray[np.float32] | None] = field(default_factory=list)


def located(pictures: Sequence[NDArray[np.uint8]], specs: Sequence[str], sides: Sequence[int]) -> list[Framing]:
    """Points of every picture by every detector at every size."""
    detectors = {spec: build(spec) for spec in specs}
    framings = [Framing(spec, side) for spec in specs for side in sides]
    for start in range(0, len(pictures), BATCH):
        for one in framings:
            begin = time.process_time()
            one.points += [find_points(pixels, detectors[one.detector], one.side or None) for pixels in pictures[start : start + BATCH]]
            one.seconds += time.process_time() - begin
    return framings


def answers(pictures: Sequence[NDArray[np.uint8]], framing: Framing, predictor: Predictor) -> NDArray[np.intp]:
    """(N,) the expression that the model gives each picture; one without points has the mean framing."""
    sizes = [np.array(pixels.shape[1::-1], np.float32) for pixels in pictures]
    shares = [points / size for points, size in zip(framing.points, sizes, strict=True) if points is not None]
    usual = mean_points(np.array(shares, np.float32).reshape(-1, 5, 2))
    crops = [
        cv2.cvtColor(frame(pixels, usual * size if points is None else points), cv2.COLOR_RGB2GRAY)
        for pixels, points, size in zip(pictures, framing.points, sizes, strict=True)
    ]
    return np.asarray(predictor.logits(np.asarray(crops, np.uint8)).argmax(axis=1), np.intp)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ferplus", type=Path, required=True)
    parser.add_argument("--detector", nargs="+", default=["builtin"])
    parser.add_argument("--sides", nargs="+", type=int, default=[0, 320])
    parser.add_argument("--every", type=int, default=1, help="only every n-th face")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--to", type=Path, help="folder for the figures")
    args = parser.parse_args(arguments)
    about = machine()
    cv2.setNumThreads(1)
    chosen = [sample for sample in samples(args.ferplus) if sample.split == "valid"][:: args.every]
    pictures = [decode(sample.data, LIMITS).pixels for sample in chosen]
    classes, kept = majority_classes(np.array([sample.votes for sample in chosen], np.float32), "votes")
    predictor = Predictor(resolve_model(args.model), "cpu")
    rows, first = list[dict[str, object]](), None
    print(f"{len(pictures):,} faces\n\n| detector | side | CPU ms a face | found | accuracy | as the first |")
    print("|---|---:|---:|---:|---:|---:|")
    for one in located(pictures, [resolve(spec) for spec in args.detector], args.sides):
        found = answers(pictures, one, predictor)[kept]
        first = found if first is None else first
        row = {
            "detector": one.detector.partition(":")[0],
            "side": one.side,
            "cpu_ms": round(1000 * one.seconds / len(pictures), 2),
            "found": round(sum(points is not None for points in one.points) / len(pictures), 4),
            "accuracy": round(float((found == classes).mean()), 4),
            "as_the_first": round(float((found == first).mean()), 4),
        }
        rows.append(row)
        print("| " + " | ".join(str(value) for value in row.values()) + " |")
    if args.to:
        write_record(args.to, "face_framing", {"faces": len(pictures), "model": resolve_model(args.model).digest, "rows": rows}, about)


if __name__ == "__main__":
    main()
