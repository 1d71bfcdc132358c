"""What runs the two networks fastest on a CPU, and what that does to the labels.

    python -m benchmarks.throughput.cpu_runtimes [PHOTOS] [--pictures 60] [--to FOLDER]

One thread. PHOTOS (a folder, with all below it; generated pictures without it) are brought to half a megapixel. Five ways: torch with
channels last in float32 and in bfloat16, ONNX Runtime in float32 and with 8-bit convolutions, as ferflow labels (where the files have
ranges; the detector refines in float32), and, where there is a C++ compiler, what torch.compile makes of float32. Speeds are CPU
milliseconds, medians. Labels are compared with those of float32, faces matched by IoU >= 0.5: the detector's ways with the network in
float32, the network's ways on the same crops. Prints Markdown; --to writes cpu_runtimes.json.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from shutil import which
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.throughput.whole_job import generated, machine, resized
from fer_core.align.aligner import align
from fer_core.detect.base import box_iou
from fer_core.detect.builtin.decode_outputs import Levels
from fer_core.detect.builtin.detector import BuiltinDetector
from fer_core.detect.builtin.network import DetectionNet
from fer_core.detect.builtin.runtime import DetectorRuntime, load_runtime
from fer_core.detect.builtin.weights import SHIPPED, load_detector
from fer_core.models.network import MultiscaleNet
from fer_core.models.onnx_builder import Session
from fer_core.models.store import ModelSpec, load_model, read_weights, resolve_model
from fer_core.predict.answer_rule import answer_rule
from fer_core.predict.fusion import fused
from fer_core.predict.onnx_backend import BATCH, build_onnx, network_window
from fer_core.types import Faces

Pixels = NDArray[np.uint8]
Logits = Callable[[Pixels], NDArray[np.float64]]
WAYS = ("torch float32", "torch bfloat16", "ONNX Runtime float32", "ONNX Runtime 8 bits", "torch.compile float32")
COMPILER = which("c++") or which("g++") or which("clang++")
"""What the last way needs; it is left out where there is none."""


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--to", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as place:
        pictures = chosen(args.photos or generated(Path(place) / "photos", args.pictures), args.pictures)
    figures = {"machine": machine(), "pictures": len(pictures), "rows": rows(pictures)}
    if args.to is not None:
        args.to.mkdir(parents=True, exist_ok=True)
        (args.to / "cpu_runtimes.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(markdown(figures))


def chosen(folder: Path, count: int) -> list[Pixels]:
    """Pictures from all over the folder."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in {".jpg", ".jpeg", ".png"})
    return [np.asarray(resized(Image.open(file).convert("RGB"))) for file in files[:: max(1, len(files) // count)][:count]]


def rows(pictures: Sequence[Pixels]) -> list[dict[str, Any]]:
    """A row for each network and way."""
    ref = resolve_model("tiny")
    network, spec = load_model(ref)
    rule = answer_rule(ref, spec)
    reference = detections(BuiltinDetector(quantized=False), pictures)
    logits = dict(zip(WAYS, networks(network, spec), strict=COMPILER is not None))
    scores = {way: rule.probabilities(each(reference[1])) for way, each in logits.items()}
    plain = scores[WAYS[0]]
    found = []
    for way, each in logits.items():
        compared = agreement(plain, scores[way])
        found.append({"network": "tiny, mirrored", "way": way, "ms": timed(partial(each, reference[1][:64])) / 64, **compared})
    for way, runtime in zip(WAYS, detectors(), strict=COMPILER is not None):
        detector = BuiltinDetector(quantized=False)
        detector._search, detector._refine = runtime
        faces, crops = detections(detector, pictures)
        said = rule.probabilities(logits[WAYS[2]](crops))
        compared = matched(reference[0], faces, scores[WAYS[2]], said)
        cost = statistics.median(timed(partial(detector.detect, picture), 1) for picture in pictures)
        found.append({"network": "detector", "way": way, "ms": cost, **compared})
    return found


def networks(network: MultiscaleNet, spec: ModelSpec) -> Iterator[Logits]:
    """Each of `WAYS`."""
    mirrored = spec.flip
    for kind in (torch.float32, torch.bfloat16):
        yield _Torch(fused(network).to(kind, memory_format=torch.channels_last), kind, mirrored)  # type: ignore[call-overload]  # torch's annotation lacks it
    tensors = read_weights(resolve_model("tiny"))[0]
    for ranges in (None, spec.ranges):
        yield _runtime(Session(build_onnx(network.config, tensors, ranges, mirrored=mirrored)))
    if COMPILER:
        compiled = fused(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's annotation lacks it
        compiled.forward = torch.compile(compiled.forward)
        yield _Torch(compiled, torch.float32, mirrored)


class _Torch:
    def __init__(self, network: MultiscaleNet, kind: torch.dtype, mirrored: bool) -> None:
        self._network, self._kind, self._mirrored = network, kind, mirrored

    @torch.inference_mode()
    def __call__(self, crops: Pixels) -> NDArray[np.float64]:
        parts = []
        for start in range(0, len(crops), 64):
            faces = torch.from_numpy(crops[start : start + 64]).permute(0, 3, 1, 2).to(self._kind)
            said = self._network.logits(self._network(faces))
            if self._mirrored:
                said = (said + self._network.logits(self._network(faces.flip(-1)))) / 2
            parts.append(said.double().numpy())
        return np.concatenate(parts)


def _runtime(session: Session) -> Logits:
    def logits(crops: Pixels) -> NDArray[np.float64]:
        parts = [session(network_window(crops[start : start + BATCH]))[0] for start in range(0, len(crops), BATCH)]
        return np.concatenate(parts).astype(np.float64)

    return logits


def detectors() -> Iterator[tuple[DetectorRuntime, DetectorRuntime]]:
    """Each of `WAYS`: the runtime that searches and the one that refines, in 8 bits as labelling has them."""
    for kind in (torch.float32, torch.bfloat16):
        runtime = _torch_runtime(load_detector(SHIPPED).to(kind, memory_format=torch.channels_last), kind)  # type: ignore[call-overload]  # torch's annotation lacks it
        yield runtime, runtime
    single = load_runtime(SHIPPED, "cpu")
    yield single, single
    yield load_runtime(SHIPPED, "cpu", quantized=True), single
    if COMPILER:
        network = load_detector(SHIPPED).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's annotation lacks it
        network.levels = torch.compile(network.levels)
        runtime = _torch_runtime(network, torch.float32)
        yield runtime, runtime


def _torch_runtime(network: DetectionNet, kind: torch.dtype) -> DetectorRuntime:
    @torch.inference_mode()
    def see(pictures: Sequence[Pixels]) -> Levels:
        stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(kind, memory_format=torch.channels_last)
        return [level.float().numpy() for level in network.levels(stacked)]

    return see


def detections(detector: BuiltinDetector, pictures: Sequence[Pixels]) -> tuple[list[Faces], Pixels]:
    """Faces of each picture, and the crops of all."""
    faces = [detector.detect(picture) for picture in pictures]
    return faces, np.concatenate([align(picture, found) for picture, found in zip(pictures, faces, strict=True)])


def matched(faces: Sequence[Faces], others: Sequence[Faces], scores: NDArray[np.float64], said: NDArray[np.float64]) -> dict[str, float]:
    """Labels of faces that both found."""
    ours, theirs, first, second = [], [], 0, 0
    for one, other in zip(faces, others, strict=True):
        for index, row in enumerate(box_iou(one.boxes, other.boxes)):
            if row.size and row.max() >= 0.5:
                ours.append(scores[first + index])
                theirs.append(said[second + int(row.argmax())])
        first, second = first + len(one), second + len(other)
    return {**agreement(np.array(ours), np.array(theirs)), "found": len(ours) / max(first, 1)}


def agreement(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> dict[str, float]:
    """How alike two answers about the same faces are."""
    apart = np.abs(ours.max(axis=1) - theirs.max(axis=1))
    return {
        "faces": len(ours),
        "same_expression": float(np.mean(ours.argmax(axis=1) == theirs.argmax(axis=1))),
        "within_0.01": float(np.mean(apart <= 0.01)),
        "confidence_apart_p95": float(np.percentile(apart, 95)),
        "found": 1.0,
    }


def timed(work: Callable[[], object], rounds: int = 9) -> float:
    """Median CPU milliseconds."""
    work()
    spent = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        spent.append(1000 * (time.process_time() - start))
    return statistics.median(spent)


def markdown(figures: dict[str, Any]) -> str:
    """One table."""
    about = figures["machine"]
    lines = [
        f"{figures['pictures']} pictures, {about['processor']}, one thread, torch {about['torch']}.",
        "",
        "| network | way | CPU ms a face or picture | faces found again | same expression | confidence within 0.01 | 95 % within |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in figures["rows"]:
        shares = f"{100 * row['found']:.1f} % | {100 * row['same_expression']:.2f} % | {100 * row['within_0.01']:.1f} %"
        lines.append(f"| {row['network']} | {row['way']} | {row['ms']:.2f} | {shares} | {row['confidence_apart_p95']:.4f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
