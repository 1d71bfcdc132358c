"""Prefect flows and the ferflow command."""

from flows.prefect_settings import watch_import

watch_import()
