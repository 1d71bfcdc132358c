"""A source -> the inventory of its images.

In: a folder, an `s3://` prefix, a pattern or a list file. Out: `schema.INVENTORY`, sorted by URI. Next: `planning` selects what has
changed.
"""
