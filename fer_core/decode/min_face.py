"""The smallest face that is looked for, and what follows from it for one picture: the part of its size at which it is decoded, and how fine
the detector's image pyramid begins. Pure functions of sizes.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Self

from fer_core.errors import UsageError
from fer_core.run.configuration import MIN_FACE_PX

DEFAULT: Final = "1%"
LEAST_OF_SHARE: Final = 20.0
"""Pixels that a share of the longest side means at least."""
LEVEL_MOST: Final = 12.0
"""Pixels that a smallest face that is a share has at most in the finest pyramid level, where the picture has more."""
LEVEL_MOST_OF_PIXELS: Final = 18.0
"""The same for one that is given in pixels: a size in pixels asks for recall, at half of the speed or less; a share of the longest
side balances both (docs/explanation/detector.md). As in `RunConfig.finest_px`."""
LEVEL_LEAST: Final = 5 / 6
"""Part of that which it has at least: 10 px of 12."""
SMALLEST_SIDE: Final = 320
"""The finest level is not made smaller than this, nor a picture decoded: it costs little there, and large faces are found better."""
REDUCED_FROM: Final = 2000
"""Longest side. Shorter pictures are decoded in full, which takes half as long again as at half their size: more than one in three would
have to be decoded again for their crops."""
ENLARGE: Final = 2
"""Pictures below `SMALLEST_SIDE` are enlarged by at most this."""
REDUCTIONS: Final = (8, 4, 2)
"""What libjpeg can divide a picture's sides by while it decodes (scaled inverse transforms)."""

Reduction = Callable[[int, int], int]
"""Longest and shortest side of a picture -> what a JPEG decoder divides its sides by: 1, 2, 4 or 8."""

LEAST, MOST = MIN_FACE_PX
_TEXT: Final = re.compile(r"(\d{1,9}(?:\.\d{1,4})?)(%?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class MinFace:
    """The shorter side of the smallest box that counts."""

    amount: float
    """Pixels of the original, or per cent of its longest side."""
    relative: bool
    most: float = LEVEL_MOST
    """Pixels that it has at most in the finest level, where the picture has more."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """`40` or `1%`, as new runs search for it. UsageError: neither, below 10 pixels, or no share above 0 and up to 100."""
        found = _TEXT.fullmatch(text.strip())
        if found is None:
            raise UsageError("the smallest face is a number of pixels such as 40, or a share of the longest side such as 1%")
        amount, relative = float(found[1]), bool(found[2])
        if relative and not 0 < amount <= 100:
            raise UsageError("the smallest face is a share above 0% and up to 100% of the longest side")
        if not relative and not LEAST <= amount <= MOST:
            raise UsageError(f"the smallest face has at least {LEAST:g} and at most {MOST:,.0f} pixels")
        return cls(amount, relative, LEVEL_MOST if relative else LEVEL_MOST_OF_PIXELS)

    @classmethod
    def of_run(cls, text: str, finest_px: float | None) -> Self:
        """Of a run's configuration, see `RunConfig.min_face` and `RunConfig.finest_px`. UsageError as `parse`."""
        return replace(cls.parse(text), most=LEVEL_MOST if finest_px is None else finest_px)

    @property
    def finest_px(self) -> float | None:
        """What a run's configuration says of it, see `RunConfig.finest_px`."""
        return None if self.most == LEVEL_MOST else self.most

    def __str__(self) -> str:
        """One text for each value: `1%` also of `1.0 %`."""
        whole = int(self.amount) if self.amount == int(self.amount) else self.amount
        return f"{whole}{'%' if self.relative else ''}"

    def pixels(self, longest: int) -> float:
        """Of an original with that longest side."""
        return max(self.amount / 100 * longest, LEAST_OF_SHARE) if self.relative else self.amount

    def reduction(self, longest: int, shortest: int) -> int:
        """1, 2, 4 or 8: the most by which a JPEG picture's sides can be divided while it is decoded.

        The smallest face keeps at least five sixths of `most`, and the picture `SMALLEST_SIDE`; below `REDUCED_FROM` it is 1.
        """
        kept = LEVEL_LEAST * self.most
        most = min(self.pixels(longest) / kept, longest / SMALLEST_SIDE, shortest) if longest >= REDUCED_FROM else 1
        return next((each for each in REDUCTIONS if each <= most), 1)

    def finest_side(self, longest: int, shortest: int) -> int:
        """Longest side of the finest pyramid level, the same for a picture that was decoded in full.

        The picture as it is decoded where the smallest face has at most `most` pixels there, else so that it has `most`; `SMALLEST_SIDE`
        at least.
        """
        smallest, factor = self.pixels(longest), self.reduction(longest, shortest)
        side = -(-longest // factor) if smallest <= factor * self.most else math.ceil(longest * self.most / smallest)
        return max(side, min(SMALLEST_SIDE, ENLARGE * longest))


def not_above(side: int | None) -> Reduction:
    """The most that leaves the longest side at least `side`, as for a detector that shrinks larger pictures itself; none for None."""

    def reduction(longest: int, shortest: int) -> int:
        return next((each for each in REDUCTIONS if side is not None and longest >= each * side and shortest >= each), 1)

    return reduction


def in_full(longest: int, shortest: int) -> int:
    """The `Reduction` of pictures that are decoded at their own size."""
    return 1


def crop_reduction(scales: list[float], longest: int, shortest: int) -> int:
    """The most by which the sides of a JPEG picture may be divided for aligned faces with a pixel of their own for each of theirs.

    scales: crop pixels a pixel of the original, of each face. 1, 2, 4 or 8; 1 where even the original has fewer.
    """
    largest = max(scales, default=0.0)
    return next((each for each in REDUCTIONS if largest * each <= 1 and min(longest, shortest) >= each), 1)


@dataclass(frozen=True, slots=True)
class Look:
    """How a detector processes one picture, in pixels of the picture as it came."""

    least: float
    """Shortest box side that counts."""
    side: int | None = None
    """Longest side of the finest pyramid level; None: by the detector's own rule, which is that of earlier releases."""
