import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from fer_core.commit import lease as module
from fer_core.commit import process_identity
from fer_core.commit.lease import Claim, LeaseTimes, lease, live_claims, refuse_concurrent_writer
from fer_core.commit.process_identity import ProcessIdentity, current_process, has_exited, is_running_here
from fer_core.errors import LeaseError, StoreError
from fer_core.storage.store import open_store

HOLDER = """
import sys, time
from fer_core.commit.lease import lease
from fer_core.storage.store import open_store

with lease(open_store(sys.argv[1]), "run " + sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""

QUICK = LeaseTimes(beat=0.05, look=0.03)
"""Beats and looks often. A living claim never expires meanwhile, however slow the machine is."""
IMPATIENT = replace(QUICK, expiry=0.4)
"""Claims that stand still expire at once: only for tests in which nothing that should live depends on its beats."""
ELSEWHERE = ProcessIdentity("far-away", "another boot/pid:[1]", 77, "123")


@pytest.fixture
def store(any_root):
    return open_store(any_root)


def write(store, claim):
    store.write_bytes(f"_meta/leases/{claim.token}.json", json.dumps(asdict(claim)).encode())


def claim(token="77", process=ELSEWHERE, held=True):
    return Claim(token, "run far", process, "2026-01-01T00:00:00+00:00", held)


def start(root, name):
    repository = Path(__file__).resolve().parents[4]
    words = [sys.executable, "-c", HOLDER, root, name]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env={**os.environ, "PYTHONPATH": str(repository)})


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_knows_itself_and_its_dead():
    me = current_process()
    assert is_running_here(me)
    assert not has_exited(me)
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    its = replace(me, pid=child.pid)
    assert has_exited(replace(its, started="1")), "the number is of a process that began at another time"
    alive = replace(its, started=process_identity._started(child.pid))
    assert is_running_here(alive)
    child.kill()
    until(lambda: has_exited(alive))  # ended, though its parent has not asked for it
    child.communicate()
    assert has_exited(alive)
    assert not has_exited(ELSEWHERE)
    assert not is_running_here(ELSEWHERE)


def test_one_after_the_other(store):
    for _ in range(2):
        with lease(store, "run a") as held:
            held.check()
            held.check_now()
            assert [found.work for found in live_claims(store)] == ["run a"]
        assert store.list_files("_meta/leases") == []


def test_the_second_is_refused_in_one_line_and_the_first_goes_on(store):
    refuse_concurrent_writer(store)
    with lease(store, "run a") as held:
        with pytest.raises(LeaseError, match=r"another process is writing to .*run a, process \d+ on .*: wait until it has ended"):
            refuse_concurrent_writer(store)
        with pytest.raises(LeaseError, match="run a"), lease(store, "run b"):
            pytest.fail("both hold it")
        held.check_now()
        assert len(store.list_files("_meta/leases")) == 1
    with lease(store, "run b"):
        pass


def test_whatever_ends_the_work_gives_the_lease_back(store):
    with pytest.raises(KeyboardInterrupt), lease(store, "run a"):
        raise KeyboardInterrupt
    assert live_claims(store) == []


def test_of_many_at_once_never_two_hold_it(store):
    inside, most, entered, refused = 0, 0, 0, 0
    lock = threading.Lock()

    def compete(number):
        nonlocal inside, most, entered, refused
        for _ in range(3):
            try:
                with lease(store, f"run {number}", QUICK):
                    with lock:
                        inside += 1
                        most, entered = max(most, inside), entered + 1
                    time.sleep(0.01)
                    with lock:
                        inside -= 1
            except LeaseError:
                refused += 1

    threads = [threading.Thread(target=compete, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert entered >= 1
    assert entered + refused == 9
    assert store.list_files("_meta/leases") == []


def test_two_claims_at_the_same_moment_one_goes_on(store, monkeypatch):
    """Both have written before either has looked."""
    tokens, barrier, ended = iter(["bb", "aa"]), threading.Barrier(2), []
    monkeypatch.setattr(module, "secrets", SimpleNamespace(token_hex=lambda _: next(tokens)))
    look = module._wait_for_others

    def together(store, claim, times):
        barrier.wait()
        return look(store, claim, times)

    monkeypatch.setattr(module, "_wait_for_others", together)

    def run(name):
        try:
            with lease(store, name, QUICK) as held:
                ended.append(("held", held.token))  # after the other stepped back, so it need not hold it for long
        except LeaseError:
            ended.append(("refused", name))

    threads = [threading.Thread(target=run, args=(name,)) for name in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(kind for kind, _ in ended) == ["held", "refused"]
    assert ("held", "aa") in ended


def test_a_living_lease_elsewhere_refuses_as_soon_as_it_beats(store):
    far = claim()
    write(store, far)
    ended = threading.Event()

    def beat():
        beats = 0
        while not ended.wait(0.05):
            beats += 1
            write(store, replace(far, beat=beats))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(LeaseError, match="run far, process 77 on far-away"), lease(store, "run a", QUICK):
            pytest.fail("both hold it")
    finally:
        ended.set()
        thread.join()
    refuse_concurrent_writer(store)  # this machine cannot decide at once


def test_a_lease_elsewhere_that_stands_still_is_taken_over_and_fenced(store):
    write(store, claim())
    started = time.monotonic()
    with lease(store, "run a", IMPATIENT) as held:
        assert time.monotonic() - started > 0.4
        assert store.exists("_meta/leases/77.fenced")
        # its holder wakes up and renews what it still takes for its own
        write(store, claim())
        held.check_now()
        with pytest.raises(LeaseError, match="run a"), lease(store, "run b", IMPATIENT):
            pytest.fail("two hold it")
    with lease(store, "run c", IMPATIENT):
        assert [found.work for found in live_claims(store)] == ["run c"]


def test_a_holder_that_slept_learns_of_it_before_it_publishes(store, monkeypatch):
    with lease(store, "run a", IMPATIENT) as held:
        held._ended.set()  # it stands still
        held._thread.join()
        # seen from another machine
        monkeypatch.setattr(module, "is_running_here", lambda process: False)
        with lease(store, "run b", IMPATIENT) as other:
            other.check_now()
            with pytest.raises(LeaseError, match="its lease was taken over"):
                held.check()
    assert store.list_files("_meta/leases") == [], "even the fence goes, once its holder knows"


def test_a_lease_outlives_a_storage_that_does_not_answer_for_a_while(store):
    class Moody:
        down, refused = False, 0

        def __getattr__(self, name):
            if self.down and name in ("write_bytes", "exists"):
                self.refused += 1
                raise StoreError("slow down")
            return getattr(store, name)

        def without_retries(self):
            return self

    moody = Moody()
    with lease(moody, "run a", QUICK) as held:
        moody.down = True
        until(lambda: moody.refused >= 2)
        (before,) = live_claims(store)
        moody.down = False
        until(lambda: live_claims(store)[0].beat > before.beat)
        held.check_now()


def test_what_is_no_lease_is_told(store):
    store.write_bytes("_meta/leases/x.json", b"{}")
    with pytest.raises(LeaseError, match=r"a lease cannot be read; remove .*_meta/leases/x\.json if no process writes there"):
        refuse_concurrent_writer(store)


def test_a_killed_holder_is_seen_as_dead_at_once(tmp_path, monkeypatch):
    """Two real processes: the second is refused while the first lives, and let in at once when it was killed."""
    root = str(tmp_path / "root")
    first = start(root, "first")
    assert first.stdout.readline() == "held\n"
    second = start(root, "second")
    _, err = second.communicate(timeout=280)
    assert second.returncode == 1
    assert f"run first, process {first.pid} on" in err
    first.send_signal(signal.SIGKILL)  # and its parent does not wait for it: a zombie holds no lease
    until(lambda: not live_claims(open_store(root)))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: pytest.fail("waits for the dead")))
    with lease(open_store(root), "run third"):
        first.communicate()
