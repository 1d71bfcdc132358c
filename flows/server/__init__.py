"""Prefect's server as ferflow serves it: who may speak to it, and how one proves who one is."""
