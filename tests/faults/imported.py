"""What a night needs, imported once for all that are forked from here. Threads do not survive a fork, so none may be started here."""

import cv2
import duckdb  # noqa: F401
import torch

import fer_core.detect.builtin  # noqa: F401
import flows.label  # noqa: F401
from tests.faults import nights, small_parts  # noqa: F401

cv2.setNumThreads(1)
torch.set_num_threads(1)
