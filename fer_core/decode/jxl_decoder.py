"""JPEG XL by libjxl (extra `jxl`)."""

from fractions import Fraction
from typing import Final

from PIL import Image

from fer_core.decode.extras import missing_extra
from fer_core.errors import ImageError
from fer_core.tables.schema import UNREADABLE

_RATIOS: Final = (Fraction(1), Fraction(6, 5), Fraction(4, 3), Fraction(3, 2), Fraction(16, 9), Fraction(5, 4), Fraction(2))
_BITS: Final = (9, 13, 18, 30)
"""Of a side, by its prefix."""
_BOXES: Final = 64
"""Before the picture; writers have four."""


def decode_jxl(data: bytes) -> Image.Image | bytes:
    """An upright picture, or the JPEG file that was packed without loss. ImageError where the extra is missing."""
    try:
        from pillow_jxl import Decoder
    except ImportError:
        raise missing_extra("a JPEG XL file", "jxl") from None
    was_jpeg, info, content, _, _ = Decoder(num_threads=1)(data)
    return content if was_jpeg else Image.frombytes(info.mode, (info.width, info.height), content)


def jxl_size(data: bytes) -> tuple[int, int]:
    """Width and height from the header (ISO/IEC 18181-1, annex D). ImageError where it is damaged.

    The library has no way to ask for it: it decodes as it opens.
    """
    start = _codestream(data)
    if start is None or len(data) < start + 12:
        raise ImageError(UNREADABLE, "truncated JPEG XL image")
    bits = _Bits(int.from_bytes(data[start + 2 : start + 12], "little"))
    small = bool(bits.take(1))
    height = _side(bits, small)
    ratio = bits.take(3)
    width = int(height * _RATIOS[ratio - 1]) if ratio else _side(bits, small)
    return width, height


def _side(bits: "_Bits", small: bool) -> int:
    return 8 * (bits.take(5) + 1) if small else bits.take(_BITS[bits.take(2)]) + 1


def _codestream(data: bytes) -> int | None:
    """Where the picture begins (ISO/IEC 18181-2)."""
    if data.startswith(b"\xff\x0a"):
        return 0
    at = 0
    for _ in range(_BOXES):
        size, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if kind in (b"jxlc", b"jxlp"):
            start = at + head + (4 if kind == b"jxlp" else 0)
            return start if data[start : start + 2] == b"\xff\x0a" else None
        if size < head:
            return None
        at += size
    return None


class _Bits:
    """Bits of a number, the lowest first."""

    def __init__(self, value: int) -> None:
        self._value = value

    def take(self, count: int) -> int:
        """The next ones, as a number."""
        taken = self._value & (1 << count) - 1
        self._value >>= count
        return taken
