"""Bytes -> RGB pixels within limits.

In: URIs of images. Out: (H, W, 3) uint8 RGB, upright by EXIF, or an `ImageError` with the reason. Headers are checked before a
decoder runs; reading and decoding run ahead in threads. Next: `detect`.
"""
