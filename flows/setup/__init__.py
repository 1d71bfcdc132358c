"""Checks and decisions before a flow starts: parameters -> a checked run configuration.

In: the parameters of a form or a command. Out: a `run.RunConfig` and its lease, or one line with the error.
"""
