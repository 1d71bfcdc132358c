"""Where the command starts: signals first, then the imports, which take long enough for a Ctrl-C.

Worker processes import this module too, as part of the script that their parent runs: it does nothing until it is called.
"""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> int:
    """Run the command and return its exit code. Until it handles signals itself, one of them ends it in one line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)
    from flows.cli.main import main as command

    return command()


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    """Nothing has begun: there is nothing to unwind, and an import that is unwound can swallow the interrupt."""
    texts = {2: b"ferflow: interrupted\n"} | ({1: b'{"error": "interrupted"}\n'} if "--json" in sys.argv else {})
    for descriptor, text in texts.items():
        try:
            os.write(descriptor, text)
        except OSError:  # closed, or without a reader
            continue
    os._exit(1)
