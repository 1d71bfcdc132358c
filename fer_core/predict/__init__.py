"""Aligned crops -> expression probabilities.

In: (N, 112, 112, 3) uint8 RGB. Out: `types.Predictions`. ONNX Runtime computes on CPUs, torch on other devices. Next: `tables`.
"""
