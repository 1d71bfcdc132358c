"""The page as HTML: style and photographs inside, no script, nothing fetched from anywhere."""

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_core.gallery.label_placement import COLOURS
from fer_core.gallery.page import LAW, GalleryPage
from fer_core.gallery.templates import data_uri, templates
from fer_core.outputs.mark import html_mark

AT_ONCE: Final = 24
"""Faces of one photograph that are shown without a click."""


def write_html(page: GalleryPage) -> str:
    """The whole page."""
    environment = templates("fer_core.gallery")
    environment.filters["jpeg"] = _jpeg
    return environment.get_template("page.html").render(
        page=page, colours=COLOURS, law=LAW, at_once=AT_ONCE, mark=html_mark("gallery", page.named)
    )


def _jpeg(pixels: NDArray[np.uint8], quality: int) -> str:
    """(H, W, 3) RGB as a data URI."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, optimize=True)
    return data_uri(stream.getvalue(), "jpeg")
