"""What can be decoded here: the release of the decoders, and the extras that are installed."""

from functools import cache
from importlib.util import find_spec
from typing import Final

from fer_core.errors import ImageError
from fer_core.tables.schema import UNSUPPORTED

DECODERS: Final = 2
"""Rises whenever files are read that were not before. Releases that did not keep it with a run are 1."""

EXTRAS: Final = {"jxl": "pillow_jxl", "raw": "rawpy"}
"""Extras of ferflow that decode, and the module of each."""


@cache
def installed_decoders() -> str:
    """The release and the installed extras, such as `2 raw`; kept with a run, see `run.RunConfig.decoders`."""
    return " ".join([str(DECODERS), *(name for name, module in EXTRAS.items() if find_spec(module) is not None)])


def missing_extra(what: str, extra: str) -> ImageError:
    """For a file whose decoder is not installed."""
    return ImageError(UNSUPPORTED, f"{what}; to read it, install the extra `{extra}`: pip install 'ferflow[{extra}]'")
