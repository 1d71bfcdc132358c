"""Creation of artifacts of runs."""

from prefect.artifacts import create_markdown_artifact

from tasks.artifacts.markdown import Markdown

LONGEST = 250
"""Characters of a description."""


def publish(key: str, page: Markdown, description: str) -> None:
    """Store a page with the run. description: text, one line; the UI renders it as Markdown too."""
    create_markdown_artifact(str(Markdown.escape(page)), key=key, description=str(Markdown.escape(description[:LONGEST])))
