"""Prefect flows and the ferflow command."""
