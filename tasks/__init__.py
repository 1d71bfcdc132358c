"""Prefect tasks: thin verbs over fer_core."""
