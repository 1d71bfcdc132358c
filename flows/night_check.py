"""Where servers that an earlier release was deployed on look for the flow `night-check`."""

from flows.freshness_check import night_check

__all__ = ["night_check"]
