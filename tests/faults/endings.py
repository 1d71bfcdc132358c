"""Ends of pictures that tell `harm` what to do. Apart from it, because importing `harm` puts stand-ins in the place of product code."""

DEADLY, HANGING, GATED = b"deadly", b"hanging", b"gated"
"""The decoder aborts the process; never ends; waits until the file that GATE in the environment names is there.

Who waits adds a line to the file of that name with `.seen` behind it.
"""
