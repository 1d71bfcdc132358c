"""Jinja's templates of HTML pages: each is a file beside the module that fills it. What is put in is escaped."""

from base64 import b64encode

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from fer_core.gallery.text import counted, percent


def templates(package: str) -> Environment:
    """Those of one package; what it lacks, such as `base.css`, is the gallery's."""
    loader = ChoiceLoader([PackageLoader(package, ""), PackageLoader("fer_core.gallery", "")])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(counted=counted, percent=percent, thousands="{:,}".format)
    return environment


def data_uri(data: bytes, kind: str) -> str:
    """An encoded picture as a data URI. kind: `jpeg` or `png`."""
    return f"data:image/{kind};base64,{b64encode(data).decode()}"
