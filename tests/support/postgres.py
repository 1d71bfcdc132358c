"""A PostgreSQL server of this machine's, for as long as a test runs. Skips, with the reason, where none is installed."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PASSWORD = "p@ss/w:rd %1"
"""That an address would have to quote."""
SOMEBODY = "nobody"
"""Who runs it where the tests are run by root, which PostgreSQL refuses."""


@dataclass(frozen=True)
class Postgres:
    """Where it is. The user is `prefect`."""

    programs: Path
    port: int

    def run(self, program: str, *words: object) -> str:
        """What one of its programs says."""
        line = [str(self.programs / program), "--host=127.0.0.1", f"--port={self.port}", "--username=prefect", *map(str, words)]
        done = subprocess.run(line, env={**os.environ, "PGPASSWORD": PASSWORD}, capture_output=True, text=True, check=False, timeout=280)
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def postgres() -> Iterator[Postgres]:
    """With an empty database named `prefect`."""
    programs = found()
    owner = pwd.getpwnam(SOMEBODY) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    as_owner = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # not below the tests' own folder, which is closed to other users
    os.chown(folder, owner.pw_uid, owner.pw_gid)

    def run(*words: object) -> None:
        done = subprocess.run(
            [str(word) for word in words], cwd=folder, capture_output=True, text=True, check=False, timeout=280, **as_owner
        )
        assert done.returncode == 0, done.stderr

    try:
        (folder / "password").write_text(PASSWORD)
        os.chown(folder / "password", owner.pw_uid, owner.pw_gid)
        made = ("--username=prefect", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--encoding=UTF8", "--no-sync")
        run(programs / "initdb", "--pgdata", folder / "data", *made)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        control = (programs / "pg_ctl", "--pgdata", folder / "data", "--wait")
        run(*control, "--silent", "--log", folder / "log", "--options", options, "start")
        try:
            server = Postgres(programs, port)
            server.run("createdb", "prefect")
            yield server
        finally:
            run(*control, "--mode", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def found() -> Path:
    """The newest folder of programs."""
    program = shutil.which("initdb")
    folders = [Path(program).resolve().parent] if program else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if not folders:
        pytest.skip("no PostgreSQL on this machine (Debian: apt-get install postgresql)")
    return folders[0]
