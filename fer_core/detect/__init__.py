"""Pixels -> faces: boxes, five points and scores, from one of several detectors behind one protocol (`base`).

In: (H, W, 3) uint8 RGB. Out: `types.Faces` in pixels. `registry` builds a detector from its name. Next: `align`.
"""
