"""The detector that comes with ferflow: one small network over an image pyramid.

In: RGB pixels. `tiling` cuts the pyramid into tiles, `runtime` runs the network, `decode_outputs` reads its outputs, `refinement` runs
it again on each face. Out: `types.Faces`.
"""
