"""Files that were written from a labels root to places elsewhere, and that show or name its images.

In: the address, kind and runs of a gallery, review, export or face set. Out: the registry of the root, in which `erasure` finds them
again, and the marks by which it recognises them.
"""
