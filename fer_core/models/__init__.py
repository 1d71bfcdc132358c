"""Networks as files: architecture, weights, card, calibration, and which model is the champion.

In: a model's name or folder. Out: a checked `ModelCard` and tensors, without pickle. Next: `predict` runs them, `training` writes new
ones.
"""
