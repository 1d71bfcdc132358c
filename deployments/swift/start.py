"""OpenStack Swift with its S3 interface on this machine: a proxy, an account, a container and an object server, all on loopback.

A production object store for trials and tests of ferflow: it checks signatures, has read and write permissions, and
lists in pages. One replica, random ports, random keys. It needs Linux and a file system with extended attributes, no root, no
container. Run it with any Python from 3.11; it installs Swift into its own environment.

    python deployments/swift/start.py --folder /tmp/swift

writes one line of JSON when the store answers (`endpoint`, `region`, and the keys of `writer`, who owns the buckets, and of `reader`, who
can only read objects that the writer made readable), and runs until it is interrupted. The stored objects stay in --folder; without
--folder they are in a temporary one, which is removed at the end.
"""

import argparse
import ctypes
import fcntl
import getpass
import hashlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
ENVIRONMENT: Final = HERE.parents[1] / ".cache" / "swift-venv"
KINDS: Final = ("object", "container", "account")
"""The servers behind the proxy, each with a ring that says where its things are."""
START_SECONDS: Final = 240.0
"""It takes two on an idle machine."""

UNAVAILABLE: Final = 3
"""Exit code where Swift cannot be had on this machine; the reason is the one line on standard error."""

_SWIFT: Final = """\
[swift-hash]
swift_hash_path_prefix = {prefix}
swift_hash_path_suffix = {suffix}
[storage-policy:0]
name = one
default = yes
"""

_SERVER: Final = """\
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
fallocate_reserve = 0
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

# The first pair of `user_` lines that tempauth reads is <account>_<user> = <key> <groups>; S3's access key is then account:user.
_PROXY: Final = """\
[DEFAULT]
swift_dir = {folder}
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck s3api tempauth bulk slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:s3api]
use = egg:swift#s3api
location = {region}
storage_domain = {domain}
[filter:tempauth]
use = egg:swift#tempauth
user_ferflow_writer = {writer} .admin
user_ferflow_reader = {reader}
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
"""

_RINGS: Final = """\
import sys
from swift.common.ring import RingBuilder
folder = sys.argv[1]
for kind, port in zip(sys.argv[2::2], sys.argv[3::2]):
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "disk", "weight": 1.0})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{kind}.ring.gz")
"""


class UnavailableError(Exception):
    """Swift cannot be had here, for a reason in one line."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the configuration files say."""

    folder: Path
    """Where they are, and everything that is stored."""
    ports: Mapping[str, int]
    """Of the proxy and of each of `KINDS`."""
    region: str
    domain: str
    """Where a bucket may also stand before the host: `bucket.<domain>`."""
    keys: Mapping[str, str]
    """Secret keys of `writer` and `reader`."""

    @property
    def endpoint(self) -> str:
        """Address of the S3 interface."""
        return f"http://127.0.0.1:{self.ports['proxy']}"

    def told(self) -> dict[str, object]:
        """What a client has to know."""
        users = {user: {"access_key": f"ferflow:{user}", "secret_key": key} for user, key in self.keys.items()}
        return {"endpoint": self.endpoint, "region": self.region, "domain": self.domain, **users}


def main() -> int:
    """Start, say where, wait."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ExitStack() as stack:
        try:
            folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="swift-")))
            python = installed(options.environment)
            setting = written(folder, python, options.region, options.domain, options.port)
            stack.enter_context(running(setting, python))
        except UnavailableError as error:
            sys.stderr.write(f"{error}\n")
            return UNAVAILABLE
        sys.stdout.write(json.dumps(setting.told()) + "\n")
        sys.stdout.flush()
        try:
            if options.until_eof:
                sys.stdin.buffer.read()
            else:
                signal.pause()
        except KeyboardInterrupt:
            return 0
    return 0


def installed(environment: Path) -> Path:
    """The Python of an environment that holds Swift, made where there is none yet. Two that start at once make it once."""
    wanted = HERE / "requirements.txt"
    digest = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()
    python, stamp = environment / "bin" / "python", environment / "ferflow.stamp"
    environment.parent.mkdir(parents=True, exist_ok=True)
    with (environment.parent / f"{environment.name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != digest:
            venv.create(environment, clear=True, with_pip=True)
            words: list[str | Path] = [
                python,
                "-P",
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--require-hashes",
                "--requirement",
                wanted,
            ]
            _run("install Swift", words)
            stamp.write_text(digest)
    return python


def written(folder: Path, python: Path, region: str, domain: str, port: int) -> Setting:
    """Write rings and configuration. port: of the proxy; any free one for 0."""
    folder = folder.resolve()
    disk = folder / "devices" / "disk"
    disk.mkdir(parents=True, exist_ok=True)
    _check_attributes(folder)
    ports = dict(zip(("proxy", *KINDS), _free_ports(port), strict=True))
    setting = Setting(folder, ports, region, domain, {user: secrets.token_urlsafe(24) for user in ("writer", "reader")})
    user = getpass.getuser()
    _write(folder / "swift.conf", _SWIFT.format(prefix=secrets.token_hex(8), suffix=secrets.token_hex(8)))
    proxy = {"region": region, "domain": domain, **setting.keys}
    _write(folder / "proxy.conf", _PROXY.format(folder=folder, port=ports["proxy"], user=user, **proxy))
    for kind in KINDS:
        _write(folder / f"{kind}.conf", _SERVER.format(folder=folder, port=ports[kind], user=user, kind=kind))
    numbers = [word for kind in KINDS for word in (kind, str(ports[kind]))]
    _run("lay out Swift's rings", [python, "-P", "-c", _RINGS, folder, *numbers])
    return setting


@contextmanager
def running(setting: Setting, python: Path) -> Iterator[None]:
    """The servers, until the block ends. RuntimeError with what one said last when it does not start."""
    servers = {kind: _start(kind, setting, python) for kind in (*KINDS, "proxy")}
    try:
        _wait(setting, servers)
        yield
    finally:
        for server in servers.values():
            server.terminate()
        for server in servers.values():
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _start(kind: str, setting: Setting, python: Path) -> "subprocess.Popen[bytes]":
    words: list[str | Path] = [python, python.with_name(f"swift-{kind}-server"), setting.folder / f"{kind}.conf", "--verbose"]
    with (setting.folder / f"{kind}.log").open("wb") as log:
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        return subprocess.Popen(
            words,
            cwd=setting.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,  # Ctrl-C is for this process, which ends them
            preexec_fn=_die_with_parent,  # noqa: PLW1509  (no thread runs here)
        )


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _wait(setting: Setting, servers: "Mapping[str, subprocess.Popen[bytes]]") -> None:
    """Until each server answers."""
    deadline, waiting = time.monotonic() + START_SECONDS, dict(servers)
    while waiting:
        for kind, server in list(waiting.items()):
            if server.poll() is not None or time.monotonic() > deadline:
                last = (setting.folder / f"{kind}.log").read_text(errors="replace").strip().splitlines()[-3:]
                why = "did not answer in time" if server.poll() is None else f"ended with {server.returncode}"
                raise RuntimeError(f"Swift's {kind} server {why}: {' | '.join(last) or 'it said nothing'}")
            if _answers(kind, setting.ports[kind]):
                del waiting[kind]
        time.sleep(0.05)


def _answers(kind: str, port: int) -> bool:
    path = "/healthcheck" if kind == "proxy" else "/recon/version"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=5):
            return True
    except urllib.error.HTTPError:  # not what was asked for, but it is there
        return True
    except OSError:
        return False


def _check_attributes(folder: Path) -> None:
    """Swift keeps what it knows of an object beside its bytes, in extended attributes."""
    try:
        os.setxattr(folder, "user.ferflow", b"1")
        os.removexattr(folder, "user.ferflow")
    except (OSError, AttributeError) as error:
        raise UnavailableError(
            f"Swift needs a file system with extended attributes, which {folder} is not on: name one with --folder"
        ) from error


def _free_ports(proxy: int) -> list[int]:
    """The proxy's and one for each of `KINDS`, all held at once, so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(1 + len(KINDS))]
        for number, open_socket in enumerate(sockets):
            open_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            open_socket.bind(("127.0.0.1", 0 if number else proxy))
        return [int(open_socket.getsockname()[1]) for open_socket in sockets]


def _write(file: Path, text: str) -> None:
    """For this user's eyes: some files hold keys."""
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)


def _run(what: str, words: list[str | Path]) -> None:
    ended = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if ended.returncode:
        last = (ended.stdout.strip().splitlines() or ["no reason given"])[-1]
        raise UnavailableError(f"cannot {what}: {last} (tried: {' '.join(map(str, words))})")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="OpenStack Swift with its S3 interface on this machine.")
    parser.add_argument("--folder", type=Path, help="where to keep everything (default: a temporary folder)")
    parser.add_argument("--environment", type=Path, default=ENVIRONMENT, help="where Swift is installed (default: .cache/swift-venv)")
    parser.add_argument("--port", type=int, default=0, help="of the S3 interface (default: any free one)")
    parser.add_argument("--region", default="us-east-1", help="that clients have to sign for (default: us-east-1)")
    parser.add_argument("--domain", default="s3.localhost", help="for buckets in host names (default: s3.localhost)")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input does")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
