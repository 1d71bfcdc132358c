"""The process of a server, which may start before it is known what it serves."""

import json
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from flows.server.child_processes import environment, python


class ServerProcess:
    """A process that has not begun to serve, see `flows.server.uvicorn_process`."""

    def __init__(self, *, verbose: bool = False) -> None:
        """verbose: its output goes where this process's goes."""
        self.output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the server)
        self._control, other = socket.socketpair()
        with other:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                python("-m", "flows.server.uvicorn_process"),
                env=environment({}),
                cwd="/",
                stdin=other.fileno(),
                stdout=None if verbose else self.output,
                stderr=None if verbose else self.output,
                process_group=0,  # only the command handles Ctrl-C; it stops the server when nothing needs it any more
            )

    def serve(self, arguments: Sequence[str], listening: socket.socket, variables: Mapping[str, str], folder: Path) -> None:
        """Let it serve. arguments: of uvicorn. listening: a bound socket. variables: its environment. folder: its working folder."""
        settings = {"arguments": list(arguments), "environment": dict(variables), "folder": str(folder)}
        with suppress(OSError):  # it has ended: `PrefectServer.wait` says why
            socket.send_fds(self._control, [b"1"], [listening.fileno()])
            self._control.sendall(json.dumps(settings).encode() + b"\n")

    def stop(self) -> None:
        """Terminate it, and kill it after two seconds."""
        self.process.terminate()
        try:
            self.process.wait(timeout=2.5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._control.close()
        self.output.close()


_early: list[ServerProcess] = []
"""At most one."""


@contextmanager
def early_server(*, verbose: bool = False) -> Iterator[None]:
    """Inside, the next `server_process` already loads its libraries. It writes nothing, so a command that is refused leaves no trace."""
    process = ServerProcess(verbose=verbose)
    _early.append(process)
    try:
        yield
    finally:
        if process in _early:
            _early.remove(process)
            process.process.kill()  # it has nothing to finish
            process.stop()


def server_process(*, verbose: bool = False) -> ServerProcess:
    """The one of `early_server`, otherwise a new one."""
    return _early.pop() if _early else ServerProcess(verbose=verbose)
