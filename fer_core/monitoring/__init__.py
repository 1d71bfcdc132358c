"""Drift: how the labels of recent runs differ from those of a reference.

In: committed runs. Out: figures, a verdict and a page. Next: `flows.report` publishes them.
"""
