"""Detector, alignment and network on one NVIDIA GPU: the results of the reference path, many pictures at a time.

See docs/explanation/gpu.md.

All of it is plain tensor code that also runs on the CPU, which is how it is tested where there is no GPU.
"""
