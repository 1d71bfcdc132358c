"""The Parquet tables: their schemas and data dictionary, rows from faces and predictions, and the bytes of a part.

In: images with faces and predictions. Out: Arrow tables in `schema.LABELS`, `IMAGES` and `FACES`. Next: `commit` publishes the parts.
"""
