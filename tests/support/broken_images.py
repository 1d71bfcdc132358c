"""The zoo: one file of every kind that a labelling run must survive, with the status that it has to end with."""

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

UPRIGHT_TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""EXIF orientation -> how an upright picture is stored so that the orientation makes it upright again."""


def portrait() -> NDArray[np.uint8]:
    """(400, 384, 3) RGB: one frontal face of about 100 px, from the picture that comes with scikit-image."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[:400, 32:416])


def encoded(pixels: NDArray[np.uint8] | Image.Image, kind: str, **options) -> bytes:
    """A picture in one of Pillow's formats."""
    stream = BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(stream, kind, **options)
    return stream.getvalue()


def oriented(pixels: NDArray[np.uint8], orientation: int, kind: str = "JPEG", **options) -> bytes:
    """A picture stored turned, with the EXIF orientation that turns it back."""
    image = Image.fromarray(pixels)
    turn = UPRIGHT_TURNS[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image if turn is None else image.transpose(turn), kind, exif=exif, **options)


def sixteen_bits(pixels: NDArray[np.uint8], suffix: str) -> bytes:
    """Grey (H, W) or RGB (H, W, 3) with 16-bit samples that span the whole range."""
    wide = pixels.astype(np.uint16) * 257
    done, data = cv2.imencode(suffix, wide if wide.ndim == 2 else wide[:, :, ::-1])
    assert done
    return data.tobytes()


def bomb_png(side: int = 30_000) -> bytes:
    """A valid black RGB PNG of side x side pixels: a few MB here, gigabytes once decoded."""
    row = 1 + 3 * side
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", _zeros_deflated(row * side)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _zeros_deflated(count: int) -> bytes:
    """zlib stream of `count` zero bytes, without making them: after a full flush the same block can stand any number of times."""
    block = 2**20
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    repeated = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    last = packer.compress(bytes(count % block)) + packer.flush()
    adler = (count % 65521) << 16 | 1  # Adler-32 of zeros
    return b"\x78\xda" + repeated * (count // block) + last + struct.pack(">I", adler)


def cut_short(jpeg: bytes) -> bytes:
    """Without its last tenth, which shows no face."""
    return jpeg[: len(jpeg) * 9 // 10]


def _photographs() -> dict[str, bytes]:
    """Whole pictures of one face, which every detector of ours finds."""
    pixels = portrait()
    image = Image.fromarray(pixels)
    grey = np.asarray(image.convert("L"))
    clear = image.copy()
    clear.putalpha(255)
    holed = clear.copy()
    holed.paste((0, 0, 0, 0), (0, 340, 384, 400))
    return {
        "good.jpg": encoded(pixels, "JPEG", quality=92),
        "progressive.jpg": encoded(pixels, "JPEG", quality=92, progressive=True),
        "good.png": encoded(pixels, "PNG"),
        "good.webp": encoded(pixels, "WEBP", quality=90),
        "good.bmp": encoded(pixels, "BMP"),
        "good.tiff": encoded(pixels, "TIFF", compression="tiff_lzw"),
        "grey.jpg": encoded(grey, "JPEG"),
        "grey.png": encoded(grey, "PNG"),
        "alpha.png": encoded(holed, "PNG"),
        "alpha.webp": encoded(holed, "WEBP", lossless=True),
        "palette.png": encoded(image.quantize(255), "PNG"),
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG"),
        "cmyk.tif": encoded(image.convert("CMYK"), "TIFF"),
        "grey16.png": sixteen_bits(grey, ".png"),
        "grey16.tif": sixteen_bits(grey, ".tif"),
        "rgb16.png": sixteen_bits(pixels, ".png"),
        "rgb16.tif": sixteen_bits(pixels, ".tif"),
        **{f"orientation_{number}.jpg": oriented(pixels, number) for number in UPRIGHT_TURNS},
        "orientation_6.png": oriented(pixels, 6, "PNG"),
        "orientation_6.webp": oriented(pixels, 6, "WEBP"),
        "orientation_6.tif": oriented(pixels, 6, "TIFF"),
        "animated.webp": encoded(image, "WEBP", save_all=True, append_images=[image.rotate(180)], duration=100),
        "animated.png": encoded(image, "PNG", save_all=True, append_images=[image.rotate(180)], duration=100),
        "cut_short.jpg": cut_short(encoded(pixels, "JPEG", quality=92)),
        "animated.gif": encoded(image, "GIF", save_all=True, append_images=[image.rotate(180)]),
        "two_pages.tif": encoded(image, "TIFF", save_all=True, append_images=[image.rotate(180)]),
        "jpeg_named.txt": encoded(pixels, "JPEG"),
        "png_named.jpg": encoded(pixels, "PNG"),
        "no_suffix": encoded(pixels, "JPEG"),
        ".hidden.jpg": encoded(pixels, "JPEG"),
        **{name: encoded(pixels, "JPEG") for name in ODD_NAMES},
    }


ODD_NAMES = (
    "two  spaces .jpg",
    "ünïcode-日本-🙂.jpg",
    "e\u0301-decomposed.jpg",
    "percent%20and%.jpg",
    "hash#tag.jpg",
    "question?mark.jpg",
    "star*[a-z].jpg",
    "quote'\"comma,semi;.jpg",
    "back\\slash.jpg",
    "new\nline.jpg",
    "-dash.jpg",
    "a::b.jpg",
    "s3:/x.jpg",
    "~tilde.jpg",
)


def _damaged() -> dict[str, tuple[bytes, str]]:
    """Name -> content and the status it ends with."""
    pixels = portrait()
    jpeg, png = encoded(pixels, "JPEG", quality=92), encoded(pixels, "PNG")
    floating = cv2.imencode(".tif", pixels[:, :, 0].astype(np.float32))[1].tobytes()
    return {
        "empty.jpg": (b"", "unreadable"),
        "truncated.jpg": (jpeg[: len(jpeg) // 3], "unreadable"),
        "truncated.png": (png[: len(png) // 2], "unreadable"),
        "truncated.webp": (encoded(pixels, "WEBP")[:4000], "unreadable"),
        "truncated.bmp": (encoded(pixels, "BMP")[:-1000], "unreadable"),
        "truncated.tif": (encoded(pixels, "TIFF")[:-200_000], "unreadable"),
        "header_only.jpg": (jpeg[:20], "unreadable"),
        "garbled.png": (png[:2000] + bytes(2000) + png[4000:], "unreadable"),
        "text.jpg": (b"These are words, not a picture.\n", "unsupported"),
        "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", "unsupported"),
        "zeros.jpg": (bytes(5000), "unsupported"),
        "heic.jpg": (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100), "unreadable"),
        "floating.tif": (floating, "unsupported"),
        "bomb.png": (bomb_png(), "too_large"),
        "one_pixel.png": (encoded(np.full((1, 1, 3), 128, np.uint8), "PNG"), "no_face"),
        "one_by_5000.png": (encoded(np.full((1, 5000, 3), 128, np.uint8), "PNG"), "no_face"),
        "5000_by_one.png": (encoded(np.full((5000, 1, 3), 128, np.uint8), "PNG"), "no_face"),
        "black.jpg": (encoded(np.zeros((480, 640, 3), np.uint8), "JPEG"), "no_face"),
    }


def make_zoo(folder: Path) -> dict[str, str]:
    """Write the zoo into a folder, which is made.

    Returns for each of its files and links the path relative to the folder, and the status that labelling it ends with under the
    default limits. Besides these there are a pipe, which is no file, and a link to the folder itself: neither must be listed. Root may
    read everything: `locked.jpg` is `unreadable` for others only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: (data, "labeled") for name, data in _photographs().items()} | _damaged()
    files["deep/er/still.jpg"] = files["good.jpg"]
    files["locked.jpg"] = (files["good.jpg"][0], "labeled" if os.geteuid() == 0 else "unreadable")
    for name, (data, _) in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "locked.jpg").chmod(0)
    links = {
        "link.jpg": ("good.jpg", "labeled"),
        "broken_link.jpg": ("nowhere.jpg", "missing"),
        "link_to_itself.jpg": ("link_to_itself.jpg", "missing"),
        "link_to_pipe.jpg": ("pipe.jpg", "unsupported"),
    }
    for name, (target, _) in links.items():
        (folder / name).symlink_to(target)
    (folder / "deep/loop").symlink_to("..")
    os.mkfifo(folder / "pipe.jpg")
    return {name: status for name, (_, status) in (files | links).items()}
