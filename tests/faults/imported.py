"""What a night needs, imported once for all that are forked from here. Threads do not survive a fork, so none may be started here."""

import cv2
import duckdb  # noqa: F401
import pandas  # noqa: F401  (pyarrow loads it where it is installed)
import pyarrow.acero
import pyarrow.dataset  # noqa: F401
import safetensors.numpy  # noqa: F401
import torch

import flows.label  # noqa: F401
from tests.faults import nights, small_parts  # noqa: F401

cv2.setNumThreads(1)
torch.set_num_threads(1)
