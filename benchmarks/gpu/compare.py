"""The GPU's path on one NVIDIA GPU: does it give the reference's answers, and how fast is it?

    python -m benchmarks.gpu.compare --out gpu-figures                      everything, about seven minutes
    python -m benchmarks.gpu.compare --out gpu-figures --only network job   some sections; the others' figures in the folder are kept
    python -m benchmarks.gpu.compare --device cpu --quick                   whether the command itself works, without a GPU

Needs torch, OpenCV, PyArrow and safetensors; neither Prefect nor Dask nor ONNX Runtime. Writes gpu.json and gpu.md into the folder, after
every section. Sections:

- equality: faces, confidence and expression against the reference path (CPU, single precision) on composed pictures; CPUs' 8 bits too
- network: aligned faces a second of `base`, and its share of the bf16 rate that the card's own matrix products reach here
- detector: pictures of 640 px a second, with copies and alignment, for few faces and hundreds; the network alone
- overlap: how much of the copies runs beside kernels, and how often the host waits
- job: JPEG files of half a megapixel on a local disk -> Parquet, in several processes that share the GPU
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the package is not installed

import cv2
import numpy as np
import torch

from benchmarks.gpu.agreement import answers_agree, faces_agree
from benchmarks.gpu.figures import markdown
from benchmarks.gpu.job import Settings, decoder, images_per_second
from benchmarks.gpu.overlap import overlap
from benchmarks.gpu.pictures import Pixels, clouds, faces_of, mosaic, source_files, written
from fer_core.align.face_extractor import CpuFaceExtractor
from fer_core.decode.min_face import Look
from fer_core.detect.builtin.detector import BuiltinDetector
from fer_core.gpu.face_extractor import GpuFaceExtractor, tiles_per_batch
from fer_core.gpu.graphs import Graphs, recorder_for
from fer_core.gpu.predictor import FacePass, GpuPredictor
from fer_core.labels import EXPRESSIONS
from fer_core.models.network import BASE, MultiscaleNet, multiply_adds
from fer_core.models.review_thresholds import ReviewRule
from fer_core.models.store import ModelSpec, load_model, resolve_model, save_model, shipped_names
from fer_core.predict.predictor import Predictor
from fer_core.timing import Stopwatch

LEAST_FACE = 16.0
SECTIONS = ("equality", "network", "detector", "overlap", "job")
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def looks(pictures: Sequence[Pixels]) -> list[Look]:
    """As runs of earlier releases search them: the finest level is the picture itself."""
    return [Look(LEAST_FACE)] * len(pictures)


class Bench:
    """One device, and pictures to work on."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.device, self.quick = torch.device(args.device), bool(args.quick)
        self.cuda = self.device.type == "cuda"
        self.dtype = torch.float16 if self.cuda else torch.float32
        self.seconds = 0.0 if self.quick else 4.0
        self.processes, self.images, self.threads = args.processes, args.images, args.threads
        self.compared = int(args.pictures)
        files = source_files(args.photos)
        self.faces, self.source = faces_of(files), ", ".join(sorted({file.name for file in files})[:5])

    def extractor(self, dtype: str = "") -> GpuFaceExtractor:
        """A CPU wants small batches, and computes in half precision as if by hand."""
        small = {} if self.cuda else {"piece_pixels": 1, "second_looks": 8}
        return GpuFaceExtractor(device=self.device, dtype=DTYPES[dtype] if dtype else self.dtype, **small)

    def pictures(self, count: int, faces: tuple[int, ...], height: int = 612, width: int = 816) -> list[Pixels]:
        """Composed pictures with so many faces in turn; half as high and wide where a moment of each is enough."""
        height, width = (height // 2, width // 2) if self.quick else (height, width)
        return [mosaic(self.faces, faces[number % len(faces)], height, width, number) for number in range(count)]

    def rate(self, call: Callable[[], Any], items: int) -> float:
        """Items a second of a call that handles so many, once it is warm."""
        for _ in range(1 if self.quick else 3):
            call()
        self.wait()
        start, calls = time.perf_counter(), 0
        while time.perf_counter() - start < self.seconds or not calls:
            call()
            calls += 1
            if calls % 16 == 0:
                self.wait()  # work that is only queued is not done
        self.wait()
        return round(calls * items / (time.perf_counter() - start), 1)

    def wait(self) -> None:
        """Until the device has nothing to do."""
        if self.cuda:
            torch.cuda.synchronize()


def equality(bench: Bench) -> dict[str, Any]:
    """The reference on the CPU against each precision on the device."""
    counts = (1, 0, 3) if bench.quick else (1, 0, 2, 5, 1, 12, 3, 50, 1, 2)
    pictures = bench.pictures(3 if bench.quick else bench.compared, counts)
    if bench.cuda and not bench.quick:
        pictures += [
            clouds(1, 5000, np.random.default_rng(0)),
            clouds(3000, 4000, np.random.default_rng(1)),
            *bench.pictures(2, (300,), 1500, 2000),
        ]
    watch = Stopwatch()
    wanted = CpuFaceExtractor(BuiltinDetector(quantized=False)).extract(pictures, looks(pictures), watch)
    crops = np.concatenate([one.crops for one in wanted])
    reference, in_use = (Predictor(resolve_model("tiny"), "cpu", quantized=each) for each in (False, True))
    answers = reference.predict(crops)
    out: dict[str, Any] = {"pictures": len(pictures), "faces": len(crops), "faces_from": bench.source, "model": "tiny"}
    for name in ("float16", "float32") if bench.quick else ("float16", "bfloat16", "float32"):
        found = bench.extractor(name).extract(pictures, looks(pictures), watch)
        predictor = GpuPredictor("tiny", bench.device, DTYPES[name], 32 if bench.quick else 256)
        whole = predictor.predict(np.concatenate([one.crops for one in found]))
        out[name] = {**faces_agree(wanted, found, answers, whole), "network_alone": answers_agree(answers, predictor.predict(crops))}
    if find_spec("onnxruntime") is not None:
        found = CpuFaceExtractor(BuiltinDetector()).extract(pictures, looks(pictures), watch)
        whole = in_use.predict(np.concatenate([one.crops for one in found]))
        out["8 bits"] = {**faces_agree(wanted, found, answers, whole), "network_alone": answers_agree(answers, in_use.predict(crops))}
    return out


def network(bench: Bench) -> dict[str, Any]:
    """`base` on crops that lie on the device, with and without the mirror image, and through the predictor with its copies."""
    spec, net, trained = _base()
    adds = multiply_adds(spec.network)
    limit = _matmul_rate(bench)
    out: dict[str, Any] = {
        "model": "base",
        "trained": trained,
        "multiply_adds": adds,
        "bf16_matmul_tflops": round(limit / 1e12, 2),
        "batches": {},
    }
    for batch in (2,) if bench.quick else (64, 256, 1024):
        crops = torch.randint(0, 256, (batch, 112, 112, 3), dtype=torch.uint8, device=bench.device)
        for mirrored in (False, True):
            for name in ("bfloat16",) if bench.quick else ("float16", "bfloat16"):
                once = FacePass(net, replace(spec, flip=mirrored), bench.device, DTYPES[name])
                graphs = Graphs(once, recorder_for(bench.device))
                with torch.inference_mode():
                    speed = bench.rate(partial(graphs, crops), batch)
                share = 2 * adds * (1 + mirrored) * speed / limit
                out["batches"][f"{batch} {name}{' mirrored' if mirrored else ''}"] = {
                    "faces_per_second": speed,
                    "share_of_matmul_rate": round(share, 4),
                }
    with tempfile.TemporaryDirectory() as place:
        predictor = GpuPredictor(_saved(Path(place)), bench.device, bench.dtype, 2 if bench.quick else 256)
        host = np.random.default_rng(0).integers(0, 256, (2 if bench.quick else 4096, 112, 112, 3), np.uint8)
        out["predictor_with_copies_faces_per_second"] = bench.rate(lambda: predictor.predict(host), len(host))
    out["faces_per_second"] = max(one["faces_per_second"] for name, one in out["batches"].items() if "mirrored" not in name)
    return out


def _base() -> tuple[ModelSpec, MultiscaleNet, bool]:
    """Random weights while no trained `base` is shipped: as fast, and of no use otherwise."""
    if "base" in shipped_names():
        net, spec = load_model(resolve_model("base"))
        return spec, net, True
    torch.manual_seed(0)
    return ModelSpec(BASE, 1.0, True, ReviewRule(0.5, 1.0)), MultiscaleNet(BASE).eval(), False


def _saved(folder: Path) -> str:
    """A model that the predictor takes by its name."""
    if "base" in shipped_names():
        return "base"
    spec, net, _ = _base()
    save_model(folder, net.state_dict(), spec, {"name": "base-random", "classes": list(EXPRESSIONS)})
    return str(folder)


def _matmul_rate(bench: Bench) -> float:
    """Floating-point operations a second of a large bf16 matrix product."""
    side = 256 if bench.quick else 8192
    a, b = (torch.randn(side, side, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 * bench.rate(lambda: torch.mm(a, b), 1)


def detector(bench: Bench) -> dict[str, Any]:
    """Decoded pictures in, faces and crops out."""
    extractor, batch = bench.extractor(), 1 if bench.quick else 256
    out: dict[str, Any] = {}
    cases = {"640x480, 1 face": ((1,), 480, 640)}
    if not bench.quick:
        cases |= {"640x480, no face": ((0,), 480, 640), "640x480, 5 faces": ((5,), 480, 640), "816x612, 1 face": ((1,), 612, 816)}
        cases |= {"816x612, 50 faces": ((50,), 612, 816), "2000x1500, 300 faces": ((300,), 1500, 2000)}
    for name, (faces, height, width) in cases.items():
        pictures = bench.pictures(min(batch, 16), faces, height, width) * max(1, batch // 16)
        speed = bench.rate(partial(extractor.extract, pictures, looks(pictures), Stopwatch()), len(pictures))
        found = sum(len(one.faces) for one in extractor.extract(pictures, looks(pictures), Stopwatch())) / len(pictures)
        out[name] = {"images_per_second": speed, "faces_an_image": round(found, 1)}
    out["repeated_batches"] = extractor.repeated
    sizes = [(200, 250), (208, 263)] if bench.quick else [(400 + 8 * number, 500 + 13 * number) for number in range(32)]
    mixed = [clouds(*size, np.random.default_rng(number)) for number, size in enumerate(sizes)]
    out["mixed sizes, no face"] = {"images_per_second": bench.rate(lambda: extractor.extract(mixed, looks(mixed), Stopwatch()), len(mixed))}
    size = 1 if bench.quick else tiles_per_batch(512 * 640, 2**22)
    resident = torch.rand(size, 3, 512, 640, device=bench.device).mul(255).to(bench.dtype).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        out["network_alone_640x512_pieces_per_second"] = bench.rate(lambda: extractor._graphs(resident), size)
    out["images_per_second"] = out["640x480, 1 face"]["images_per_second"]
    return out


def job(bench: Bench) -> dict[str, Any]:
    """Whole jobs, for several numbers of processes; `base` where it is shipped or can be made up, and `tiny`."""
    out: dict[str, Any] = {"decoder": decoder()[1], "megapixels": 0.5, "runs": []}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        count = bench.images or (6 if bench.quick else 8000)
        files = written(folder / "photos", bench.pictures(4 if bench.quick else 120, (0, 1, 2, 1, 3, 1, 6, 1, 0, 2)), count)
        cores = os.cpu_count() or 1
        counts = bench.processes or ([1] if bench.quick else sorted({max(1, cores // 8), max(1, cores // 4), max(1, cores // 2), cores}))
        models = {"tiny": "tiny"} if bench.quick else {"tiny": "tiny", "base": _saved(folder / "base")}
        for name, model in models.items():
            for processes in counts if name == "tiny" else counts[-2:-1] or counts:
                parts = folder / f"parts-{name}-{processes}"
                parts.mkdir()
                threads = bench.threads or max(1, cores // processes)
                settings = Settings(str(bench.device), model, str(parts), threads, processes, not bench.cuda)
                out["runs"].append({"model": name, **images_per_second(files, settings)})
    out["images_per_second"] = max(run["images_per_second"] for run in out["runs"])
    return out


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures were measured on."""
    told: dict[str, Any] = {
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "opencv": cv2.__version__,
        "device": str(device),
    }
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        told |= {
            "gpu": about.name,
            "gpu_memory_gib": round(about.total_memory / 2**30),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return told


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="a moment of each, to try the command")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--out", type=Path, default=Path("gpu-figures"), help="folder for gpu.json and gpu.md")
    parser.add_argument("--photos", type=Path, help="folder of photographs to take faces from")
    parser.add_argument("--pictures", type=int, default=200, help="of the section on equality (default: 200)")
    parser.add_argument("--images", type=int, help="JPEG files of the whole job (default: 8,000)")
    parser.add_argument("--processes", type=int, nargs="+", help="of the whole job (default: several counts)")
    parser.add_argument("--threads", type=int, help="that decode, in each process (default: all cores shared out)")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch finds no CUDA device here; --device cpu --quick tries the command without one")
    torch.set_num_threads(1 if args.device == "cpu" else torch.get_num_threads())
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "gpu.json"
    figures: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    figures |= {"machine": machine(torch.device(args.device)), "quick": args.quick, "measured_on_a_gpu": args.device == "cuda"}
    bench = Bench(args)
    work: dict[str, Callable[[Bench], dict[str, Any]]] = dict(
        zip(
            SECTIONS,
            (
                equality,
                network,
                detector,
                lambda each: overlap(each.extractor(), each.pictures(2 if each.quick else 256, (1, 2)), each.device),
                job,
            ),
            strict=True,
        )
    )
    failed = False
    for name in args.only:
        start = time.perf_counter()
        try:
            figures[name] = work[name](bench)
        except (Exception, SystemExit):  # noqa: BLE001  the device may be lent for minutes: what the other sections find out is kept
            figures[name] = {"failed": traceback.format_exc()}
            failed = True
            traceback.print_exc()
        figures[name]["took_seconds"] = round(time.perf_counter() - start, 1)
        file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        (args.out / "gpu.md").write_text(markdown(figures), encoding="utf-8")
        print(f"{name}: {figures[name]['took_seconds']} s", file=sys.stderr, flush=True)
    print(markdown(figures))
    sys.exit(failed)


if __name__ == "__main__":
    main()
