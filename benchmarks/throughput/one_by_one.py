"""What scripts share that look at one picture after another: ferflow's network on one face at a time, and rows appended to Parquet."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from fer_core.labels import EXPRESSIONS
from fer_core.models.store import load_model, resolve_model
from fer_core.predict.answer_rule import answer_rule
from fer_core.predict.fusion import fused

SCHEMA = pa.schema([("file", pa.string()), ("face", pa.int64()), ("expression", pa.string()), ("confidence", pa.float64())])

Crops = Callable[[NDArray[np.uint8]], list[NDArray[np.uint8]]]
"""(H, W, 3) BGR -> its faces, each (112, 112, 3) RGB."""


class FaceByFace:
    """A shipped model in a simple script: plain torch, one face at a time, torch's default number of threads."""

    def __init__(self, model: str = "tiny") -> None:
        ref = resolve_model(model)
        network, self.spec = load_model(ref)
        self._rule = answer_rule(ref, self.spec)
        self._network = fused(network).eval()

    def label(self, crop: NDArray[np.uint8]) -> tuple[str, float]:
        """(112, 112, 3) RGB -> expression and its calibrated probability."""
        with torch.inference_mode():
            face = torch.from_numpy(crop).permute(2, 0, 1)[None].float()
            logits = self._network.logits(self._network(face))
            if self.spec.flip:
                logits = (logits + self._network.logits(self._network(face.flip(-1)))) / 2
        said = self._rule.probabilities(logits.double().numpy())[0]
        return EXPRESSIONS[int(said.argmax())], float(said.max())


def labelled(folder: Path, to: Path, crops: Crops, network: FaceByFace) -> dict[str, float]:
    """Label a folder's JPEG files; seconds are from the first picture to the last row."""
    files = sorted(folder.rglob("*.jpg"))
    faces, start = 0, time.perf_counter()
    with pq.ParquetWriter(to, SCHEMA) as writer:
        for file in files:
            picture = cv2.imread(str(file))
            if picture is None:
                continue
            for number, crop in enumerate(crops(np.asarray(picture, np.uint8))):
                expression, confidence = network.label(crop)
                writer.write_table(pa.table([[file.name], [number], [expression], [confidence]], schema=SCHEMA))
                faces += 1
    return {"images": len(files), "faces": faces, "seconds": time.perf_counter() - start}


def told(folder: Path, to: Path, crops: Crops) -> None:
    """Label, and print the figures as JSON."""
    network = FaceByFace()
    network.label(np.zeros((112, 112, 3), np.uint8))  # the first pass prepares torch's kernels: that is loading
    print(json.dumps({**labelled(folder, to, crops, network), "threads": {"torch": torch.get_num_threads(), "cv2": cv2.getNumThreads()}}))
