"""Committed runs as tables: `fer_core.read_labels`, and SQL for `ferflow query`.

In: the manifests of a labels root. Out: Arrow tables, and the views `labels`, `images`, `current`, `runs`, `reviews` and `models`.
"""
