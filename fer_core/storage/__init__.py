"""Storage of images and tables: a local folder, S3, GCS or memory, behind one `Store`.

In: a root's address. Out: bytes, listings and atomic writes, with retries. Other folders use it; `paths` names each file of a labels
root, and `spill` sorts tables that do not fit in memory.
"""
