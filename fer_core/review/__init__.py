"""Review of labels by people: faces worth a minute go out (`export`), verdicts come in (`incoming`) and are kept (`history`), and
training reads them (`reviewed`, `face_set`).

A verdict carries the image's digest and the face's box, so that it finds its face again after the detector changed (`attach`).
"""
