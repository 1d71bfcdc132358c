"""The whole job against other people's software on the same pictures: insightface's loop with SCRFD, and the `fer` package.

    python -m benchmarks.throughput.against_others --photos FOLDER --scrfd SCRFD.onnx [SCRFD.onnx ...] --to FIGURES
    python -m benchmarks.throughput.against_others --photos FOLDER --fer-python ENVIRONMENT/bin/python [--muxspace MUXSPACE] --to FIGURES

Rates as in against_script.py: ferflow's once started, the others' without loading. `fer` brings its own detector (a Haar cascade) and its
own network of seven expressions; it is compared by speed, by the labels of faces that both find, and by accuracy on muxspace's pictures of
people kept out of all training of ferflow's. It runs in an environment of its own, because it wants TensorFlow and old PyTorch:

    python3.11 -m venv ENVIRONMENT
    ENVIRONMENT/bin/pip install tensorflow-cpu==2.21.0 opencv-contrib-python pandas requests tqdm pillow matplotlib "setuptools<81"
    ENVIRONMENT/bin/pip install --no-deps fer==25.10.3

(`pip install fer` alone would also bring `facenet-pytorch` and the PyTorch of 2024 with CUDA, gigabytes that only its option `mtcnn` uses.)
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.matched import LabelledFaces, faces, of_labels, pairs
from benchmarks.accuracy.muxspace import write_folder
from benchmarks.common.pictures import repeated, varied
from benchmarks.common.record import machine, write_record
from benchmarks.throughput.against_script import script
from benchmarks.throughput.whole_job import measured
from fer_core.labels import FOLDER_NAMES

HERE = Path(__file__).parent
OVERLAP = 0.4
"""Intersection over union from which a face is the same: cascades draw squares around the middle of a face, ferflow boxes around heads."""
WORDS = {"angry": "anger", "happy": "happiness", "sad": "sadness"}
"""`fer`'s names that are not ferflow's."""


def main() -> None:
    """Measure and write insightface.json and fer.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="photographs (default: composed pictures)")
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scrfd", type=Path, nargs="+", default=[], help="SCRFD files with five points (non-commercial research only)")
    parser.add_argument("--fer-python", type=Path, help="the interpreter of an environment with `fer`")
    parser.add_argument("--muxspace", type=Path, help="folder with images.zip and labels.csv")
    parser.add_argument("--to", type=Path, required=True, metavar="FIGURES", help="folder for the JSON files")
    args = parser.parse_args()
    if not args.scrfd and not args.fer_python:
        parser.error("nothing to compare with: --scrfd or --fer-python")
    about = machine()
    settings = {"source": "photographs" if args.photos else "generated", "images": args.images, "workers": args.workers}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        pictures = repeated(args.photos, place / "p", args.images) if args.photos else varied(place / "p", args.images)
        job = measured(str(pictures), place / "labels", "builtin", args.workers)
        if args.scrfd:
            scripts = {file.stem: script("benchmarks.throughput.insightface_script", pictures, file) for file in args.scrfd}
            write_record(args.to, "insightface", {**settings, "job": job, "scripts": scripts}, about)
        if args.fer_python:
            said = asked(args.fer_python, pictures)
            labels = {"photographs": compared(of_labels(place / "labels", pictures), said)}
            accuracy = muxspace(args.fer_python, args.muxspace, place, args.workers) if args.muxspace else None
            counts = {name: value for name, value in said.items() if name != "said"}
            write_record(args.to, "fer", {**settings, "job": job, "fer": counts, "labels": labels, "accuracy": accuracy}, about)


def asked(python: Path, pictures: Path) -> dict[str, Any]:
    """What `fer` says of a folder."""
    done = subprocess.run([str(python), str(HERE / "fer_script.py"), str(pictures)], check=True, stdout=subprocess.PIPE, text=True)
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def as_said(answers: dict[str, list[list[Any]]]) -> dict[str, LabelledFaces]:
    """`fer_script.py`'s faces, in ferflow's words."""
    return {name: _said(rows) for name, rows in answers.items()}


def _said(rows: list[list[Any]]) -> LabelledFaces:
    boxes = np.array([[x, y, x + width, y + height] for x, y, width, height, *_ in rows], np.float32).reshape(-1, 4)
    return LabelledFaces(boxes, tuple(WORDS.get(row[4], row[4]) for row in rows), np.array([row[5] for row in rows], np.float64))


def compared(ours: dict[str, LabelledFaces], said: dict[str, Any]) -> dict[str, float]:
    """Faces that both find, and how often both see the same; ferflow's contempt, which `fer` does not know, is never the same."""
    theirs = as_said(said["said"])
    both = pairs(ours, theirs, OVERLAP)
    same = sum(pair.one[0] == pair.other[0] for pair in both)
    return {"faces_ferflow": faces(ours), "faces_fer": faces(theirs), "matched": len(both), "same_expression": same / max(1, len(both))}


def muxspace(python: Path, source: Path, place: Path, workers: int) -> dict[str, Any]:
    """Shares of muxspace's held-out pictures whose largest face gets the picture's label; contempt left out, which `fer` does not know."""
    write_folder(source, place / "muxspace")
    test = place / "muxspace" / "test"
    for picture in test.glob("contempt/*"):
        picture.unlink()
    truth = {file.relative_to(test).as_posix(): FOLDER_NAMES[file.parent.name.lower()] for file in sorted(test.glob("*/*"))}
    measured(str(test), place / "muxspace-labels", "builtin", workers)
    answers = {"ferflow": of_labels(place / "muxspace-labels", test), "fer": as_said(asked(python, test)["said"])}
    largest = {who: {name: _largest(one) for name, one in said.items() if one.expressions} for who, said in answers.items()}
    both = [name for name in truth if all(name in said for said in largest.values())]
    return {"pictures": len(truth), "found_by_both": len(both), **{who: _scored(truth, said, both) for who, said in largest.items()}}


def _largest(said: LabelledFaces) -> str:
    sides = said.boxes[:, 2:] - said.boxes[:, :2]
    return said.expressions[int((sides[:, 0] * sides[:, 1]).argmax())]


def _scored(truth: dict[str, str], said: dict[str, str], both: list[str]) -> dict[str, float]:
    right = {name for name, label in truth.items() if said.get(name) == label}
    found = sum(name in said for name in truth)
    return {
        "found": found / len(truth),
        "accuracy": len(right) / len(truth),
        "accuracy_where_found": len(right) / max(1, found),
        "accuracy_where_both_found": sum(name in right for name in both) / max(1, len(both)),
    }


if __name__ == "__main__":
    main()
