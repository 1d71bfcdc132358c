"""Artifacts of a flow run for the Prefect UI: tables and text in Markdown, safe for any file name.

In: results of a task. Out: Prefect artifacts, and the resource of events about a labels root.
"""
