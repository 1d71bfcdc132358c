"""What all plots share: sheet, letters, colours, heading, file."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fer_core.errors import StoreError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

INK, SOFT, LINE, FAINT = "#1c2128", "#5d6672", "#c9c6bf", "#eeece6"
SERIES: Final = ("#1d5fbf", "#d9480f", "#00876c", "#8f3fb0", "#8a6d00", "#5d6672")
"""Colours of the lines of a plot, which colour-blind people can distinguish too; each has its own marker."""
MARKS: Final = ("o", "s", "^", "D", "v", "P")
MARGIN: Final = 0.28
"""Around the sheet, inches."""

_STYLE: "Final[dict[RcKeyType, Any]]" = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: a plot looks the same everywhere
    "font.size": 9.5,
    "text.color": INK,
    "text.parse_math": False,  # a model may be called a$b$
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.9,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "legend.frameon": False,
    "figure.dpi": 150,
    "savefig.dpi": 150,
}


@contextmanager
def sheet(file: Path, width: float, height: float) -> Iterator["Figure"]:
    """An empty figure of so many inches; what is drawn on it until the block ends becomes the PNG `file`, whose folder is made.

    A file that cannot be written is a StoreError.
    """
    # a first start builds a list of fonts, and says so as a warning
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()  # independent of the user's own matplotlibrc
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=(width, height), facecolor="white")
        yield figure
        data = BytesIO()
        figure.savefig(data, format="png", metadata={"Software": None})  # the same figures give the same bytes
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data.getvalue())
    except OSError as error:
        raise StoreError(f"cannot write the plot {file} ({error.strerror})") from error


def make_folder(folder: Path) -> None:
    """The folder for plots. StoreError, before the long work starts, where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write plots to {folder} ({error.strerror})") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(f"cannot write plots to {folder} (permission denied)")


def heading(figure: "Figure", title: str, lines: Sequence[str] = ()) -> None:
    """A bold title and softer lines below it, at the top left."""
    width, height = figure.get_size_inches()
    down = MARGIN
    for text, size, weight, colour in ((title, 13, "bold", INK), *((line, 9.5, "normal", SOFT) for line in lines)):
        figure.text(MARGIN / width, 1 - down / height, text, fontsize=size, fontweight=weight, color=colour, va="top")
        down += size / 72 * 1.6


def inches(figure: "Figure", left: float, bottom: float, width: float, height: float) -> tuple[float, float, float, float]:
    """A rectangle in inches from the lower left corner of the sheet, in the units of `Figure.add_axes`."""
    across, up = figure.get_size_inches()
    return left / across, bottom / up, width / across, height / up


def printed(text: str, longest: int = 40) -> str:
    """A name in characters of the font: shortened, and with a question mark for characters that are not European."""
    plain = "".join(letter if letter.isprintable() and ord(letter) < 0x180 else "?" for letter in text)
    return plain if len(plain) <= longest else plain[: longest - 3] + "..."


def percent(value: float, place: float) -> str:
    """A tick of an axis of shares."""
    del place
    return f"{round(100 * value, 2):g}%"
