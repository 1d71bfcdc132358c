"""Lease on a labels root: one writer at a time. A second writer gets an error; the lease of a process that ended can be taken over.

Each claim is a separate file, `_meta/leases/<token>.json`, so the storage needs no compare-and-swap. A process writes its claim and then
lists all claims. It holds the lease once a listing contains no other live claim. If two processes claim at the same time, each sees the
other's claim, because each writes before it lists; the lower token waits until the other claim is withdrawn. (After Lamport's bakery
algorithm, CACM 1974: each shared file has one writer and many readers.) The storage must list files that were written before, as local
disks and S3 do. A listing without the process's own claim is stale and is ignored.

A claim is dead if its process has exited. On the same machine this is detected at once. A claim from another machine is dead if it was not
renewed for `EXPIRY_SECONDS`, measured on the observer's clock only: clocks of different machines are never compared. A dead claim is fenced
with a file `<token>.fenced`. A holder that was only suspended checks for this file before it publishes anything.
"""

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Final

from fer_core.commit.process_identity import ProcessIdentity, current_process, has_exited, is_running_here
from fer_core.errors import LeaseError, StoreError
from fer_core.json_reader import parse_object
from fer_core.storage.paths import LEASES
from fer_core.storage.store import Store
from fer_core.validation import check_entries

BEAT_SECONDS: Final = 5.0
"""How often a holder renews its lease."""
EXPIRY_SECONDS: Final = 60.0
"""Time without renewal after which a lease of another machine is taken over."""
MOST_BYTES: Final = 2**16


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds of the protocol."""

    beat: float = BEAT_SECONDS
    expiry: float = EXPIRY_SECONDS
    look: float = 0.2
    """Between two listings of a claimant that waits."""


TIMES: Final = LeaseTimes()


@dataclass(frozen=True, slots=True)
class Claim:
    """Content of a lease file."""

    token: str
    work: str
    """The work of the holder, for messages: `run run-20261124-101500-ab12`."""
    process: ProcessIdentity
    since: str
    """Time of the claim on that machine's clock, ISO 8601, UTC; only shown in messages."""
    held: bool = False
    """False while the claimant still checks for other claims."""
    beat: int = 0
    """Incremented by each renewal."""


class Lease:
    """A held lease. A thread renews it until `release`; `check` may be called from any thread."""

    def __init__(self, store: Store, claim: Claim, times: LeaseTimes) -> None:
        self._store, self._claim, self._times = store, claim, times
        self._once = store.without_retries()  # renewals repeat every few seconds anyway, and release must not delay the exit
        self._renewed = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    @property
    def token(self) -> str:
        """Identifies the claim; part of its file name."""
        return self._claim.token

    def check(self) -> None:
        """LeaseError if another process has taken over the lease. Reads the storage only if the last renewal is old enough for that."""
        if time.monotonic() - self._renewed > self._times.expiry / 2:
            self.check_now()

    def check_now(self) -> None:
        """The same, always with a read of the storage."""
        self._check(self._store)

    def _check(self, store: Store) -> None:
        if _is_fenced(store, self.token) or not store.exists(_file(self.token)):
            raise LeaseError(f"the lease on {store.url()} was lost: this process was suspended and its lease was taken over")

    def release(self) -> None:
        """Stop the renewal and remove the claim."""
        self._ended.set()
        self._thread.join()
        with suppress(StoreError):  # the next claimant detects that this process has exited
            _withdraw(self._once, self.token)
            self._once.remove_file(_fenced_file(self.token))

    def _renew(self) -> None:
        while not self._ended.wait(self._times.beat):
            asked = time.monotonic()
            try:
                self._check(self._once)
                self._claim = replace(self._claim, beat=self._claim.beat + 1)
                _write(self._once, self._claim)
                self._renewed = asked
            except LeaseError:
                return
            except StoreError:
                continue  # transient storage errors: retry at the next beat, before the lease expires


@contextmanager
def lease(store: Store, work: str, times: LeaseTimes = TIMES) -> Iterator[Lease]:
    """Hold the lease of a labels root in the `with` block. LeaseError, one line that names the holder, if another process holds it."""
    claim = Claim(secrets.token_hex(8), work, current_process(), datetime.now(UTC).isoformat(timespec="seconds"))
    try:
        _write(store, claim)
        claim = replace(_wait_for_others(store, claim, times), held=True)
        _write(store, claim)
    except BaseException:  # interrupts too: remove the claim whenever the wait fails
        with suppress(StoreError):
            _withdraw(store.without_retries(), claim.token)
        raise
    held = Lease(store, claim, times)
    try:
        yield held
    finally:
        held.release()


def refuse_concurrent_writer(store: Store) -> None:
    """LeaseError if a process of this machine is writing to the root. Read-only; an early check before slow work starts."""
    for claim in live_claims(store):
        if claim.held and is_running_here(claim.process):
            raise _refusal(store, claim)


def live_claims(store: Store) -> list[Claim]:
    """Claims that are not known to be dead, sorted by token. Claims of other machines count as live until they expire."""
    return [claim for claim in _claims(store) if not has_exited(claim.process)]


def _wait_for_others(store: Store, claim: Claim, times: LeaseTimes) -> Claim:
    """Return the claim, renewed, once no other live claim exists; fence dead claims. LeaseError if another claim is held or precedes it."""
    watched: dict[str, tuple[int, float]] = {}
    began = renewed = time.monotonic()
    while True:
        claims = _claims(store)
        others = [other for other in claims if other.token != claim.token]
        late = len(others) == len(claims)
        if late and time.monotonic() - began > times.expiry:
            raise LeaseError(f"{store.url()} does not list what was written there {times.expiry:g} s ago: no lease can be acquired")
        waiting = [other for other in others if not _is_dead(other, watched, times.expiry)]
        for other in others:
            if other not in waiting:
                _fence(store, other)
        if not waiting and not late:
            return claim
        for other in waiting:
            beats = watched.setdefault(other.token, (other.beat, time.monotonic()))[0]
            lives = is_running_here(other.process) or other.beat != beats
            if lives and (other.held or other.token < claim.token):
                raise _refusal(store, other)
        if time.monotonic() - renewed > times.beat:
            claim, renewed = replace(claim, beat=claim.beat + 1), time.monotonic()
            _write(store, claim)
        time.sleep(times.look)


def _is_dead(claim: Claim, watched: dict[str, tuple[int, float]], expiry: float) -> bool:
    beats, since = watched.get(claim.token, (claim.beat, time.monotonic()))
    return has_exited(claim.process) or (beats == claim.beat and time.monotonic() - since > expiry)


def _claims(store: Store) -> list[Claim]:
    names = [path.rpartition("/")[2] for path in store.list_files(LEASES)]
    fenced = {name.removesuffix(".fenced") for name in names if name.endswith(".fenced")}
    tokens = sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))
    found = (_read(store, token) for token in tokens if token not in fenced)
    return [claim for claim in found if claim is not None]


def _read(store: Store, token: str) -> Claim | None:
    """None if it was released meanwhile."""
    try:
        value = parse_object(store.read_bytes(_file(token)), MOST_BYTES)
        claim = Claim(**{**value, "process": ProcessIdentity(**value["process"])})
        check_entries(claim)
        check_entries(claim.process)
        if claim.token != token:
            raise ValueError("the claim of another file")
        return claim
    except StoreError:
        if store.exists(_file(token)):
            raise
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise LeaseError(f"a lease cannot be read; remove {store.url(_file(token))} if no process writes there") from error


def _write(store: Store, claim: Claim) -> None:
    store.write_bytes(_file(claim.token), json.dumps(asdict(claim), indent=1).encode())


def _fence(store: Store, claim: Claim) -> None:
    """Write the fence before the claim is removed: a holder that resumes in between and renews its claim is fenced too."""
    store.write_bytes(_fenced_file(claim.token), b"")
    _withdraw(store, claim.token)


def _withdraw(store: Store, token: str) -> None:
    store.remove_file(_file(token))


def _is_fenced(store: Store, token: str) -> bool:
    return store.exists(_fenced_file(token))


def _file(token: str) -> str:
    return f"{LEASES}/{token}.json"


def _fenced_file(token: str) -> str:
    return f"{LEASES}/{token}.fenced"


def _refusal(store: Store, other: Claim) -> LeaseError:
    who = f"{other.work}, process {other.process.pid} on {other.process.host} since {other.since}"
    return LeaseError(f"another process is writing to {store.url()} ({who}): wait until it has ended")
