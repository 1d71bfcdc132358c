"""The page as HTML: style and photographs inside, no script, nothing fetched from anywhere."""

import base64
import io
from typing import Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from fer_core.gallery.label_placement import COLOURS
from fer_core.gallery.page import LAW, GalleryPage
from fer_core.gallery.text import counted, percent

AT_ONCE: Final = 24
"""Faces of one photograph that are shown without a click."""


def write_html(page: GalleryPage) -> str:
    """The whole page; what is put into the template is escaped."""
    loader = PackageLoader("fer_core", "gallery")
    templates = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    templates.filters.update(counted=counted, percent=percent, jpeg=_data_uri)
    return templates.get_template("page.html").render(page=page, colours=COLOURS, law=LAW, at_once=AT_ONCE)


def _data_uri(pixels: NDArray[np.uint8], quality: int) -> str:
    """(H, W, 3) RGB -> JPEG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
