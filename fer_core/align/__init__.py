"""Faces -> aligned crops with quality measures.

In: RGB pixels and `types.Faces`. Out: (N, 112, 112, 3) uint8 RGB crops and `types.Quality`. Next: `predict`.
"""
