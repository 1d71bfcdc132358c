"""Entrypoint of the flow `night-check` in deployments of an earlier release."""

from flows.freshness_check import night_check

__all__ = ["night_check"]
