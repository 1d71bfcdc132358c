"""One file of every format and of every damage, and that docs/reference/formats.md says of each what becomes of it."""

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_core.decode import extras
from fer_core.decode.decoder import DecodeLimits, decode
from fer_core.decode.header_bounds import jpeg_layout
from fer_core.decode.jxl_decoder import jxl_size
from fer_core.decode.orientation import turned, turned_size
from fer_core.errors import ImageError
from tests.support import odd_formats
from tests.support.broken_images import UPRIGHT_TURNS, encoded, oriented, portrait
from tests.support.odd_formats import dng, heic, jxl, jxl_of_jpeg, zeroed

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "reference" / "formats.md").read_text("utf-8")
LIMITS = DecodeLimits()
FILES = odd_formats.read_files()
DAMAGED = odd_formats.damaged_files()
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


def rows(heading):
    """The table below a heading of the page."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def difference(one, other):
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other).mean())


def likeness(pixels):
    """Of developed pixels, whose colours and brightness are others."""
    return float(np.corrcoef(pixels.mean(axis=2).reshape(-1), portrait().mean(axis=2).reshape(-1))[0, 1])


def result(data, limits=LIMITS):
    try:
        return "read", decode(data, limits).damage
    except ImageError as error:
        return error.status, error.reason


@pytest.mark.parametrize("name", FILES)
def test_every_format_is_read(name):
    picture = decode(FILES[name], LIMITS)
    assert (picture.height, picture.width, picture.damage) == (400, 384, None)
    assert picture.pixels.flags.c_contiguous
    assert not picture.pixels.flags.writeable
    if name == "camera raw":  # developed, so brighter
        assert likeness(picture.pixels) > 0.95
    else:
        assert difference(picture.pixels, portrait()) < 3


def test_the_page_names_every_format():
    names = {name.partition(",")[0].removesuffix(" codestream") for name in FILES} - {"16 bits"}
    assert {row[0] for row in rows("What is read")} == names


@pytest.mark.parametrize("name", FILES)
def test_every_header_is_weighed(name):
    status, reason = result(FILES[name], DecodeLimits(max_pixels=100 * 100))
    assert (status, "pixels" in reason) == ("too_large", True)
    assert result(FILES[name], DecodeLimits(max_bytes=1000))[0] == "too_large"


@pytest.mark.parametrize("name", [*FILES, *DAMAGED])
def test_pixels_are_asked_for_once(name):
    """A second call would wait for its own turn, which is over."""
    told = []
    try:
        decode(FILES.get(name) or DAMAGED[name][0], LIMITS, admit=told.append)
    except ImageError:
        assert len(told) <= 1
    else:
        assert len(told) == 1


@pytest.mark.parametrize("name", DAMAGED)
def test_every_damage_is_what_the_page_says(name):
    data, status, reason = DAMAGED[name]
    assert result(data) == ("read" if status == "labeled" else status, reason)
    assert [name, status, reason or ""] in rows("What damage does")


def test_the_page_has_no_other_damage():
    assert [row[0] for row in rows("What damage does")] == list(DAMAGED)


@pytest.mark.parametrize("name", [name for name, (_, status, _) in DAMAGED.items() if status == "labeled"])
def test_what_is_left_is_the_picture(name):
    assert difference(decode(DAMAGED[name][0], LIMITS).pixels[:160], portrait()[:160]) < 8


@pytest.mark.parametrize("quality", [60, 92])
@pytest.mark.parametrize("place", [0.2, 0.35, 0.5, 0.65, 0.8])
def test_lost_sectors_are_seen_wherever_they_are(quality, place):
    jpeg = encoded(portrait(), "JPEG", quality=quality)
    assert result(zeroed(jpeg, place, 2048))[1].startswith("damaged JPEG image")


def test_even_areas_are_no_lost_sectors():
    for white in (encoded(Image.new("RGB", (2000, 2000), "white"), "JPEG", optimize=optimize) for optimize in (True, False)):
        assert result(white) == ("read", None)
    assert bytes(512) in encoded(Image.new("RGB", (2000, 2000), "white"), "JPEG", optimize=True)


def test_a_wrong_header_of_a_png_file_stays_wrong():
    data = bytearray(encoded(portrait(), "PNG"))
    data[19] ^= 64  # its width
    assert result(bytes(data)) == ("unreadable", "damaged PNG image")


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_are_cut_short_too(mode):
    jpeg = encoded(Image.fromarray(portrait()).convert(mode), "JPEG")
    assert result(jpeg) == result(jpeg[:-2]) == ("read", None)
    assert result(jpeg[: len(jpeg) * 9 // 10])[1].startswith("truncated JPEG image: 9")
    assert result(zeroed(jpeg, 0.5))[1].startswith("damaged")


def test_a_layout_is_told_from_segments():
    jpeg = encoded(portrait(), "JPEG")
    layout = jpeg_layout(jpeg)
    assert (layout.whole, layout.progressive, layout.scans, layout.end) == (True, False, 1, len(jpeg))
    assert jpeg[layout.start - 2 : layout.start] == b"\xff\xda"
    assert not jpeg_layout(jpeg[:-2]).whole
    assert jpeg_layout(jpeg + b"\0" * 5000).end == len(jpeg)


class TestOrientation:
    """Each format by its own rule."""

    @pytest.mark.parametrize("orientation", UPRIGHT_TURNS)
    def test_heic_by_the_file_alone(self, orientation):
        """The encoder writes `irot` and `imir` and keeps EXIF, as phones do."""
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = heic(odd_formats.turned(Image.fromarray(portrait()), orientation), exif=exif.tobytes())
        assert b"Exif" in data
        assert difference(decode(data, LIMITS).pixels, portrait()) < 3

    def test_heic_without_a_turn_of_its_own_is_as_stored(self):
        """Other tools turn it by EXIF, and pictures of phones twice."""
        exif = Image.Exif()
        exif[0x0112] = 6
        data = heic(Image.fromarray(portrait()), exif=exif.tobytes())
        where = data.index(b"irot") + 4
        data = data[:where] + b"\0" + data[where + 1 :]
        assert difference(decode(data, LIMITS).pixels, portrait()) < 3

    @pytest.mark.parametrize("orientation", UPRIGHT_TURNS)
    def test_avif_by_the_file_alone(self, orientation):
        assert difference(decode(oriented(portrait(), orientation, "AVIF", quality=90), LIMITS).pixels, portrait()) < 4

    def test_further_pictures_of_a_heic_file_are_not_read(self):
        picture = Image.fromarray(portrait())
        other = picture.resize((300, 200))
        for number, pictures in enumerate([(picture, other), (other, picture)]):
            assert difference(decode(heic(*pictures, primary_index=number), LIMITS).pixels, portrait()) < 3

    @pytest.mark.parametrize(("flip", "orientation"), [(1, 1), (3, 3), (6, 6), (8, 8)])
    def test_camera_raw_by_its_own(self, flip, orientation):
        stored = odd_formats.turned(Image.fromarray(portrait()), orientation)
        preview = decode(
            dng(np.asarray(stored.resize((stored.width // 4 * 2, stored.height // 4 * 2))), encoded(stored, "JPEG"), flip), LIMITS
        )
        assert difference(preview.pixels, portrait()) < 5
        developed = decode(dng(np.asarray(stored), None, flip), LIMITS)
        assert (developed.width, developed.height) == (384, 400)
        assert likeness(developed.pixels) > 0.95

    def test_a_packed_jpeg_file_is_that_file(self, tmp_path):
        jpeg = oriented(portrait(), 6)
        packed = decode(jxl_of_jpeg(tmp_path, jpeg), LIMITS)
        assert np.array_equal(packed.pixels, decode(jpeg, LIMITS).pixels)

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
    def test_xmp_alone_does_not_count(self, kind):
        options = {"tiffinfo": {700: XMP}} if kind == "TIFF" else {"xmp": XMP}
        if kind == "PNG":
            from PIL.PngImagePlugin import PngInfo

            options = {"pnginfo": PngInfo()}
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
        data = encoded(portrait(), kind, **options)
        with Image.open(BytesIO(data)) as image:
            assert image.getexif().get(0x0112) == 6  # as Pillow takes it
        assert decode(data, LIMITS).pixels.shape == portrait().shape

    @pytest.mark.parametrize("orientation", UPRIGHT_TURNS)
    def test_arrays_are_turned_as_pillow_turns(self, orientation):
        pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
        turn = UPRIGHT_TURNS[orientation]
        expected = Image.fromarray(pixels) if turn is None else Image.fromarray(pixels).transpose(turn)
        assert np.array_equal(turned(pixels, turn), np.asarray(expected))
        assert turned_size((3, 2), turn) == expected.size


@pytest.mark.parametrize(("name", "module", "extra"), [("camera raw", "rawpy", "raw"), ("JPEG XL", "pillow_jxl", "jxl")])
def test_without_its_extra_the_reason_names_it(name, module, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    status, reason = result(FILES[name])
    assert (status, f"pip install 'ferflow[{extra}]'" in reason) == ("unsupported", True)
    extras.installed_decoders.cache_clear()
    assert extra not in extras.installed_decoders().split()
    monkeypatch.undo()
    extras.installed_decoders.cache_clear()
    assert extras.installed_decoders() == f"{extras.DECODERS} jxl raw"


@pytest.mark.parametrize(
    "size", [(384, 400), (256, 256), (8, 8), (1, 1), (640, 480), (1920, 1080), (300, 200), (1000, 3), (5000, 2), (37, 411)]
)
def test_the_size_of_jpeg_xl_is_in_its_header(size, tmp_path):
    picture = Image.fromarray(portrait()).resize(size)
    assert jxl_size(jxl(picture)) == jxl_size(jxl(picture, use_container=True)) == size
    if min(size) >= 8:
        assert jxl_size(jxl_of_jpeg(tmp_path, encoded(picture, "JPEG"))) == size


def test_a_heic_file_that_lies_about_its_size_is_refused_before_it_is_decoded():
    data = bytearray(heic(Image.new("RGB", (1500, 1200))))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = (64).to_bytes(4, "big") * 2
    assert result(bytes(data)) == ("too_large", "a HEIF image beyond the limits of its decoder")
