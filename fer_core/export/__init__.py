"""Committed labels for other programs: the view `current` as SQL, the same as one file, and a Delta log.

In: the manifests of a labels root. Out: SQL text, a Parquet file or Delta's log. Nothing in ferflow reads these.
"""
