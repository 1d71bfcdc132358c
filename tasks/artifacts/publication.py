"""Artifacts of runs: the one way to make them."""

from prefect.artifacts import create_markdown_artifact

from tasks.artifacts.markdown import Markdown

LONGEST = 250
"""Characters of a description."""


def publish(key: str, page: Markdown, description: str) -> None:
    """Keep a page with the run. description: text, one line; the interface takes it for Markdown too."""
    create_markdown_artifact(str(Markdown.escape(page)), key=key, description=str(Markdown.escape(description[:LONGEST])))
