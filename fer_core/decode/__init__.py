"""Bytes -> RGB pixels within limits.

In: URIs of images. Out: (H, W, 3) uint8 RGB, oriented as EXIF says, or an `ImageError` with the reason. Headers are checked before a
decoder sees them; reading and decoding run ahead in threads. Next: `detect`.
"""
