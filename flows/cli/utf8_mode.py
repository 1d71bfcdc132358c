"""File names as UTF-8 in every locale, as from Python 3.15 on.

Under a Latin-1 locale Python reads the UTF-8 name `é` as two other characters: for a run under a UTF-8 locale that is another image.
"""

import locale
import os
import sys
from typing import Final

MODE: Final = "PYTHONUTF8"


def restart_in_utf8_mode() -> None:
    """Start this command again, as the same process, unless file names are UTF-8 already. Streams keep the locale's encoding."""
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get(MODE) == "1":
        return
    os.environ.setdefault("PYTHONIOENCODING", locale.getencoding())
    os.environ[MODE] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
