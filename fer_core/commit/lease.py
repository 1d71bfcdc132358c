"""One writer a labels root at a time: who writes holds a lease, who comes second is refused, and who was killed is in nobody's way.

A lease is a file of its own, `_meta/leases/<token>.json`, so that no storage needs to compare and swap. Whoever wants to write first writes
its claim and then lists all claims; it holds the lease once such a list shows no other living claim. Of two that write claims at the same
time both see the other's, since a claim is written before it is looked for others; the one whose token sorts first waits for the other to
step back. (After Lamport's bakery, CACM 1974: what is shared is written by one and read by all.) This needs a storage whose listings show
what was written before, as local disks and S3 do; a list that does not even show the claim of whoever asks is late, and not believed.

A claim is dead when its process is gone, which is seen at once on the same machine. Elsewhere it counts as dead when its holder has not
renewed it for `EXPIRY_SECONDS` of the watcher's own clock: no two clocks are compared. Who is taken for dead is fenced off by a file
`<token>.fenced`, which a holder that only slept looks for before it publishes anything.
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
"""How long a lease on another machine must have stood still before it is taken over."""
LOOK_SECONDS: Final = 0.2
MOST_BYTES: Final = 2**16


@dataclass(frozen=True, slots=True)
class Claim:
    """What stands in a lease's file."""

    token: str
    work: str
    """What is written, in words: `run run-20261124-101500-ab12`."""
    process: ProcessIdentity
    since: str
    """When it was claimed by that machine's clock, ISO 8601, UTC; only for people."""
    held: bool = False
    """False while its owner still looks for others."""
    beat: int = 0
    """Rises each time the lease is renewed."""


class Lease:
    """A lease that is held. Renews itself until it is given back; `check` may be called from any thread."""

    def __init__(self, store: Store, claim: Claim) -> None:
        self._store, self._claim = store, claim
        self._once = store.without_retries()  # renewing is tried again every few seconds anyway, and giving back must not hold up the end
        self._renewed = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    @property
    def token(self) -> str:
        """Names the claim's file."""
        return self._claim.token

    def check(self) -> None:
        """LeaseError when somebody took this process for dead and went on without it. Asks the storage only when that is possible."""
        if time.monotonic() - self._renewed > EXPIRY_SECONDS / 2:
            self.check_now()

    def check_now(self) -> None:
        """The same, asking the storage."""
        self._check(self._store)

    def _check(self, store: Store) -> None:
        if _is_fenced(store, self.token) or not store.exists(_file(self.token)):
            raise LeaseError(f"the lease on {store.url()} was lost: this process was suspended and its lease was taken over")

    def release(self) -> None:
        """Let the next one in."""
        self._ended.set()
        self._thread.join()
        with suppress(StoreError):  # whoever comes next finds this process gone
            _withdraw(self._once, self.token)
            self._once.remove_file(_fenced_file(self.token))

    def _renew(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            asked = time.monotonic()
            try:
                self._check(self._once)
                self._claim = replace(self._claim, beat=self._claim.beat + 1)
                _write(self._once, self._claim)
                self._renewed = asked
            except LeaseError:
                return
            except StoreError:
                continue  # a storage that does not answer now may do so before the lease expires


@contextmanager
def lease(store: Store, work: str) -> Iterator[Lease]:
    """Hold the lease of a labels root inside. LeaseError, in one line that says who writes, when another does."""
    claim = Claim(secrets.token_hex(8), work, current_process(), datetime.now(UTC).isoformat(timespec="seconds"))
    try:
        _write(store, claim)
        claim = replace(_wait_for_others(store, claim), held=True)
        _write(store, claim)
    except BaseException:  # also an interrupt: whatever ends the wait, the claim goes
        with suppress(StoreError):
            _withdraw(store.without_retries(), claim.token)
        raise
    held = Lease(store, claim)
    try:
        yield held
    finally:
        held.release()


def refuse_concurrent_writer(store: Store) -> None:
    """LeaseError when a process of this machine is writing to the root. Changes nothing; for an answer before anything slow starts."""
    for claim in live_claims(store):
        if claim.held and is_running_here(claim.process):
            raise _refusal(store, claim)


def live_claims(store: Store) -> list[Claim]:
    """Claims that are not known to be dead, in order of their tokens. Those on other machines count as living until they expire."""
    return [claim for claim in _claims(store) if not has_exited(claim.process)]


def _wait_for_others(store: Store, claim: Claim) -> Claim:
    """The claim, when there is no other living one; the dead are fenced off. LeaseError when somebody else holds it, or goes first."""
    watched: dict[str, tuple[int, float]] = {}
    began = renewed = time.monotonic()
    while True:
        claims = _claims(store)
        others = [other for other in claims if other.token != claim.token]
        late = len(others) == len(claims)
        if late and time.monotonic() - began > EXPIRY_SECONDS:
            raise LeaseError(f"{store.url()} does not list what was written there {EXPIRY_SECONDS:g} s ago: no lease can be acquired")
        waiting = [other for other in others if not _is_dead(other, watched)]
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
        if time.monotonic() - renewed > BEAT_SECONDS:
            claim, renewed = replace(claim, beat=claim.beat + 1), time.monotonic()
            _write(store, claim)
        time.sleep(LOOK_SECONDS)


def _is_dead(claim: Claim, watched: dict[str, tuple[int, float]]) -> bool:
    beats, since = watched.get(claim.token, (claim.beat, time.monotonic()))
    return has_exited(claim.process) or (beats == claim.beat and time.monotonic() - since > EXPIRY_SECONDS)


def _claims(store: Store) -> list[Claim]:
    names = [path.rpartition("/")[2] for path in store.list_files(LEASES)]
    fenced = {name.removesuffix(".fenced") for name in names if name.endswith(".fenced")}
    tokens = sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))
    found = (_read(store, token) for token in tokens if token not in fenced)
    return [claim for claim in found if claim is not None]


def _read(store: Store, token: str) -> Claim | None:
    """None when it was given back meanwhile."""
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
        raise LeaseError(f"a lease cannot be read; remove {store.url(_file(token))} if nothing writes there") from error


def _write(store: Store, claim: Claim) -> None:
    store.write_bytes(_file(claim.token), json.dumps(asdict(claim), indent=1).encode())


def _fence(store: Store, claim: Claim) -> None:
    """The mark comes first: a holder that wakes up in between, and renews its claim, is fenced off all the same."""
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
