"""A process that becomes a server: `python -m flows.server.uvicorn_process`, with a Unix socket as its standard input.

It loads the libraries that Prefect's server is built on, and neither Prefect nor anything of its home, until the socket brings the server's
listening socket and settings. So a command can start it before it knows that it needs one. It ends with the process that started it.
"""

import json
import os
import socket
import sys
import threading
from contextlib import suppress
from importlib import import_module
from typing import Final

from flows.server.garbage_collection import deferred_collection

LIBRARIES: Final = (
    "alembic",
    "docket",
    "fastapi",
    "httpx",
    "jinja2",
    "prometheus_client",
    "pydantic_settings",
    "rich.console",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
    "trio",
    "uvicorn",
    "websockets",
)
"""Those of Prefect's server that take long: half of what it imports."""


def load_libraries() -> None:
    """Import those that are installed: they are Prefect's choice."""
    with deferred_collection():
        for name in LIBRARIES:
            with suppress(ImportError):
                import_module(name)


def main() -> None:
    """Serve as soon as the socket says what."""
    load_libraries()
    control = socket.socket(fileno=os.dup(0))
    _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    if not descriptors:  # the command has ended
        return
    with control.makefile("rb") as lines:
        settings = json.loads(lines.readline())
    os.environ.clear()
    os.environ.update(settings["environment"])
    os.chdir(settings["folder"])
    threading.Thread(target=_end_with, args=(control,), daemon=True).start()
    import uvicorn

    sys.argv[0] = "uvicorn"
    uvicorn.main([*settings["arguments"], "--fd", str(descriptors[0])])


def _end_with(control: socket.socket) -> None:
    """The other end closes with its process, also when that is killed."""
    control.recv(1)
    os._exit(1)


if __name__ == "__main__":
    main()
