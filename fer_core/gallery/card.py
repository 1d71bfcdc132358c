"""One photograph of the page: picture, boxes, points and tags, and its faces with their probabilities."""

import base64
import io
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_core.gallery.annotations import Annotation, annotate
from fer_core.gallery.label_placement import COLOURS, LabelBox
from fer_core.gallery.photo import GalleryPhoto, Verdict
from fer_core.gallery.text import counted, describe_pose, dimensions, percent
from fer_core.labels import EXPRESSIONS

BESIDE: Final = 3
"""Up to so many faces stand beside their photograph, more stand below it."""
AT_ONCE: Final = 24
"""Faces of one photograph that are shown without a click."""

_BESIDE_FACES, _ABOVE_FACES = (758.0, 620.0), (1130.0, 820.0)
"""Room for a photograph on the page, width and height."""
_ENLARGED: Final = 2.0
"""How much a small photograph may be enlarged."""


def write_card(picture: GalleryPhoto, number: int) -> str:
    """HTML of one photograph. number: its place on the page, which makes the names of its faces unique there."""
    count, beside = len(picture.verdicts), len(picture.verdicts) <= BESIDE
    if picture.note:
        photo = _message("The photograph cannot be shown", picture.note)
    else:
        photo = _photo(picture, number, _BESIDE_FACES if beside else _ABOVE_FACES)
    faces = [_face(picture, index, number) for index in range(count)]
    if faces:
        body = f'<div class="{"few" if beside else "many"}">{photo}<div class="faces">{"".join(faces[:AT_ONCE])}</div></div>'
    else:
        body = photo + ("" if picture.note else _message("", "No face was found here."))
    if count > AT_ONCE:
        more = "".join(faces[AT_ONCE:])
        body += f'<details><summary>{counted(count - AT_ONCE, "more face")}</summary><div class="faces">{more}</div></details>'
    title = f"{escape(picture.name)}<small>{dimensions(picture)} · {counted(count, 'face')}</small>"
    return f'<article class="card"><h3 title="{escape(picture.uri)}">{title}</h3>{body}</article>'


def _message(title: str, text: str) -> str:
    strong = f"<strong>{escape(title)}</strong>" if title else ""
    return f'<div class="message">{strong}{escape(text)}</div>'


def _photo(picture: GalleryPhoto, number: int, room: tuple[float, float]) -> str:
    height, width = picture.pixels.shape[:2]
    scale = min(room[0] / width, room[1] / height, _ENLARGED)
    found = annotate(picture, scale)
    drawn = "".join(_mark(mark, number) for mark in found) + "".join(_tag(mark, number) for mark in found)
    return (
        f'<div class="photo"><figure style="--width:{width * scale:.0f}px"><img width="{width}" height="{height}" '
        f'alt="{escape(picture.name)}" src="{_jpeg(picture.pixels, 86)}">'
        f'<svg viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif">{drawn}</svg></figure></div>'
    )


def _mark(mark: Annotation, number: int) -> str:
    x0, y0, x1, y1 = mark.box
    dashes = f' stroke-dasharray="{3 * mark.line:.1f} {2 * mark.line:.1f}"' if mark.verdict.needs_review else ""
    box = f'x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{y1 - y0:.1f}" rx="{1.5 * mark.line:.1f}" fill="none"'
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{mark.dot:.2f}" fill="#fff" stroke="#0009" stroke-width="{0.35 * mark.dot:.2f}"/>'
        for x, y in mark.points
    )
    return (
        f'<a href="#p{number}f{mark.verdict.index}"><title>face {mark.verdict.index}: {escape(mark.text)}</title>'
        f'<rect {box} stroke="#000a" stroke-width="{1.9 * mark.line:.2f}"/>'
        f'<rect {box} stroke="{mark.verdict.colour}" stroke-width="{mark.line:.2f}"{dashes}/>{dots}</a>'
    )


def _tag(mark: Annotation, number: int) -> str:
    """Tags come after all boxes, so that none is crossed by another face's lines."""
    tag = mark.tag
    if tag is None:
        return ""
    text = (
        f'<text x="{tag.x + 0.65 * mark.letter:.1f}" y="{tag.y + 1.02 * mark.letter:.1f}" font-size="{mark.letter:.2f}" fill="#14171c" '
        f'textLength="{tag.width - 1.25 * mark.letter:.1f}" lengthAdjust="spacingAndGlyphs">{escape(mark.text)}</text>'
    )
    ground = f'<rect {_at(tag)} rx="{0.25 * mark.letter:.1f}" fill="#fffffff2" stroke="#0005" stroke-width="{0.4 * mark.line:.2f}"/>'
    edge = LabelBox(tag.x, tag.y, 0.28 * mark.letter, tag.height)
    edge_line = f'<rect {_at(edge)} rx="{0.12 * mark.letter:.1f}" fill="{mark.verdict.colour}"/>'
    return f'<a href="#p{number}f{mark.verdict.index}">{ground}{edge_line}{text}{_mini_bars(mark)}</a>'


def _mini_bars(mark: Annotation) -> str:
    if mark.bars is None:
        return ""
    drawn = []
    for name, share, bar in zip(EXPRESSIONS, mark.verdict.probabilities, mark.columns(), strict=True):
        drawn.append(f'<rect {_at(bar)} fill="#0000001a"/>')
        drawn.append(f'<rect {_at(bar.lower(share))} fill="{COLOURS[name]}"/>')
    return "".join(drawn)


def _at(tag: LabelBox) -> str:
    return f'x="{tag.x:.1f}" y="{tag.y:.1f}" width="{tag.width:.1f}" height="{tag.height:.1f}"'


def _face(picture: GalleryPhoto, index: int, number: int) -> str:
    verdict = picture.verdicts[index]
    alt = f"face {verdict.index}, aligned"
    crop = '<div class="no-crop"></div>'
    if index < len(picture.crops):
        crop = f'<img width="112" height="112" alt="{alt}" src="{_jpeg(picture.crops[index], 88)}">'
    review = '<span class="review">needs review</span>' if verdict.needs_review else ""
    return (
        f'<section class="face" id="p{number}f{verdict.index}" style="--colour:{verdict.colour}"><h4>{escape(verdict.expression)}'
        f'<span class="sure">{escape(percent(verdict.confidence))}</span><span class="index">face {verdict.index}</span>{review}</h4>'
        f"{crop}{_bars(verdict)}<p class=look>{escape(describe_pose(verdict))}</p></section>"
    )


def _bars(verdict: Verdict) -> str:
    rows = []
    for name, share in zip(EXPRESSIONS, verdict.probabilities, strict=True):
        top = " top" if name == verdict.expression else ""
        rows.append(
            f'<dt class="{top.strip()}">{name}</dt><dd class="track"><span class="fill" style="--colour:{COLOURS[name]};'
            f'--share:{share:.4f}"></span></dd><dd class="number{top}">{escape(percent(share))}</dd>'
        )
    return f'<dl class="bars">{"".join(rows)}</dl>'


def _jpeg(pixels: NDArray[np.uint8], quality: int) -> str:
    """(H, W, 3) RGB as a data URI."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
