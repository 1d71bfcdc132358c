"""deployments/docker/compose.yaml and the Dockerfiles, read as Docker does, as far as these files go."""

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from tests.support.processes import REPOSITORY

FOLDER = REPOSITORY / "deployments" / "docker"
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def compose(given: dict[str, str], name: str = "compose.yaml") -> dict[str, Any]:
    """A compose file with its variables replaced. KeyError for one that is needed and not given."""

    def value(match: re.Match[str]) -> str:
        name, kind, default = match.groups()
        if given.get(name):
            return given[name]
        if kind == "-":
            return str(default)
        raise KeyError(name)

    def filled(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: filled(one) for key, one in node.items()}
        if isinstance(node, list):
            return [filled(one) for one in node]
        return VARIABLE.sub(value, node) if isinstance(node, str) else node

    return filled(yaml.safe_load((FOLDER / name).read_text("utf-8")))


def instructions(name: str) -> list[tuple[str, str]]:
    """Of a Dockerfile: each instruction with its words, comments left out."""
    lines = [line for line in (FOLDER / name).read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1].strip()) for line in whole if line.strip()]


def image_environment(name: str) -> dict[str, str]:
    """What the last stage sets, but for PATH."""
    words = [word for kind, rest in instructions(name) if kind == "ENV" for word in shlex.split(rest)]
    return {key: value for key, _, value in (word.partition("=") for word in words) if not key.startswith(("PATH", "PIP"))}


def example() -> dict[str, str]:
    """env.example as variables."""
    lines = (FOLDER / "env.example").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def ignored(path: Path) -> bool:
    """Whether .dockerignore keeps a file of the repository from the images: the last pattern that fits decides."""
    kept_out = False
    for line in (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.strip().removeprefix("!")
        if pattern and not pattern.startswith("#"):
            fits = pattern == "*" or path.match(pattern) or Path(pattern) in (path, *path.parents)
            kept_out = not line.startswith("!") if fits else kept_out
    return kept_out
