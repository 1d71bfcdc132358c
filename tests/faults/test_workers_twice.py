"""Jobs that are done twice because their worker is slow: what counts, who is to blame, and what becomes of the one that is overtaken."""

import errno
import json
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from distributed import KilledWorker
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.errors import ClusterError
from fer_core.run.part_name import PartName
from fer_core.run.receipts import ShardReceipt
from fer_core.run.shard_job import ShardJob
from fer_core.storage.local import remove_folder
from tasks.execution import fan_out as fanout
from tasks.execution.failure_budget import FAILURE_BUDGET, FailureBudget
from tasks.execution.fan_out import fan_out
from tasks.execution.image_timeout import heartbeat
from tasks.execution.poison_isolation import FailureCause, WorkerFailure
from tasks.execution.stragglers import STRAGGLER_RULE, Running, StragglerRule, straggler
from tasks.execution.submission import SubmissionTimeouts, TaskSubmitter
from tests.faults import odd_pictures
from tests.support.quick_workers import quick_workers


@given(st.lists(st.builds(Running, st.text(), st.floats(0.1, 100), st.floats(0, 1000))), st.lists(st.floats(0.1, 10), max_size=9))
@settings(deadline=None)
def test_only_what_takes_much_longer_than_others_is_repeated(running, paces):
    key = straggler(running, paces)
    late = [
        one
        for one in running
        if len(paces) >= STRAGGLER_RULE.least_ended
        and one.seconds > STRAGGLER_RULE.least_seconds
        and one.seconds > STRAGGLER_RULE.repeat_after * sorted(paces)[(len(paces) - 1) // 2] * one.cost  # beyond the lower median, at least
    ]
    assert key is None or key in {one.key for one in late}
    slowest = STRAGGLER_RULE.repeat_after * max(paces, default=0)
    if any(one.seconds > max(STRAGGLER_RULE.least_seconds, slowest * one.cost) for one in late):
        assert key is not None


def test_the_latest_comes_first_by_its_own_measure():
    paces = [1.0, 1.1, 0.9]
    long, short = Running("long", 100.0, 300.0), Running("short", 10.0, 60.0)
    assert straggler([long, short], paces) == "short"
    assert straggler([long], paces) == "long"
    assert straggler([Running("fair", 100.0, 190.0)], paces) is None
    assert straggler([long], paces[:2]) is None


class Future:
    """Ends when a test says so."""

    def __init__(self, key):
        self.key, self.status, self.outcome, self.callback = key, "pending", None, None

    def add_done_callback(self, callback):
        self.callback = callback

    def end(self, outcome):
        self.status, self.outcome = ("error" if isinstance(outcome, Exception) else "finished"), outcome
        self.callback(self)

    def result(self, timeout):
        return self.outcome

    def exception(self, timeout):
        return self.outcome

    def release(self):
        pass


class Client:
    """Three workers that do not run anything."""

    scheduler = SimpleNamespace(address="tcp://nowhere:1")
    status = "running"

    def __init__(self):
        self.sent, self.handlers, self.called_back = {}, {}, []
        self.submitted = threading.Semaphore(0)

    def submit(self, watched, work, text, topic, limit, report_images, key, pure, resources):
        self.sent[key] = Future(key)
        self.submitted.release()
        return self.sent[key]

    def nthreads(self):
        return {f"tcp://worker:{number}": 1 for number in range(3)}

    def subscribe_topic(self, topic, handler):
        self.handlers[topic] = handler

    def cancel(self, futures, force):
        self.called_back += [future.key for future in futures]

    def began(self, key, **told):
        mine = next(name for name in self.handlers if name.startswith("ferflow-"))
        self.handlers[mine]((0.0, {"key": key, **told}))


FIRST, SECOND = "run-a/part-00000/1", "run-a/part-00000/2"
KILLED = KilledWorker("key", SimpleNamespace(address="tcp://worker:1"), 0)


def answer():
    return json.dumps({"receipt": ShardReceipt(PartName(0), (), {"labeled": 1}, {}, 0, {}).to_json()})


def ready_to_repeat(client, check, budget=FAILURE_BUDGET):
    """A submitter to which each job in flight is late. check: seconds between two checks."""
    rule = StragglerRule(least_seconds=0.0, least_ended=1)
    made = TaskSubmitter(client, odd_pictures.look, 300, 60, timeouts=SubmissionTimeouts(check=check), budget=budget, straggler_rule=rule)
    made._duplicates._paces.append(1e-9)
    return made


@pytest.fixture
def budget():
    return FAILURE_BUDGET


@pytest.fixture
def twice(tmp_path, budget):
    """A job at two workers: the client, the flights, and what lands, from a thread that waits for it."""
    client = Client()
    flying = ready_to_repeat(client, 0.01, budget)
    flying.submit(*odd_pictures.jobs(tmp_path, ["a"]))
    client.began(FIRST)
    landed = []
    thread = threading.Thread(target=lambda: landed.append(flying.next_completed(repeat=True)[1]))
    thread.start()
    assert client.submitted.acquire(timeout=280)
    assert client.submitted.acquire(timeout=280)
    assert list(client.sent) == [FIRST, SECOND]
    client.began(SECOND)

    def outcome():
        thread.join(30)
        return landed[0]

    return client, flying, outcome


@pytest.mark.parametrize(("winner", "loser"), [(FIRST, SECOND), (SECOND, FIRST)])
def test_the_first_receipt_counts_and_the_other_is_called_back(twice, winner, loser):
    client, flying, outcome = twice
    client.sent[winner].end(answer())
    assert isinstance(outcome(), ShardReceipt)
    assert client.called_back == [loser]
    assert len(flying) == 0
    client.sent[loser].end(KILLED)  # in its own time
    assert flying._failures.total == 0


@pytest.mark.parametrize("dies", [FIRST, SECOND])
def test_one_death_of_two_makes_no_suspect_but_is_counted(twice, dies):
    client, flying, outcome = twice
    client.sent[dies].end(KILLED)
    client.sent[FIRST if dies == SECOND else SECOND].end(answer())
    assert isinstance(outcome(), ShardReceipt)
    assert flying._failures.total == 1


def test_two_deaths_of_two_are_one_death_of_the_job(twice):
    client, flying, outcome = twice
    client.sent[SECOND].end(KILLED)
    client.sent[FIRST].end(KILLED)
    assert outcome() == WorkerFailure(FailureCause.DIED)
    assert (flying._failures.total, len(flying), list(client.sent)) == (2, 0, [FIRST, SECOND])


def test_where_one_tells_the_image_that_it_hangs_at_both_are_decided(twice):
    client, flying, outcome = twice
    client.began(FIRST, stuck_at="/00/a")
    client.sent[FIRST].end(KILLED)
    assert outcome() == WorkerFailure(FailureCause.STUCK, image="/00/a")
    assert (client.called_back, len(flying)) == ([SECOND], 0)


def test_an_outage_at_one_waits_for_the_other(twice):
    client, _, outcome = twice
    client.sent[SECOND].end(json.dumps({"error": "OutageError", "message": "the store is tired"}))
    client.sent[FIRST].end(answer())
    assert isinstance(outcome(), ShardReceipt)
    assert list(client.sent) == [FIRST, SECOND]


@pytest.mark.parametrize("budget", [FailureBudget(least=0, per_worker=0)])
def test_deaths_of_second_sendings_are_bounded_too(twice, budget):
    client, flying, _ = twice
    flight = flying._in_flight._by_key.pop(SECOND)
    with pytest.raises(ClusterError, match="1 workers died"):
        flying._has_running_duplicate(flight, WorkerFailure(FailureCause.DIED))
    client.sent[FIRST].end(answer())


def test_nothing_is_repeated_while_others_wait_or_nobody_is_free(tmp_path):
    client = Client()
    flying = ready_to_repeat(client, 0.0)
    for job in odd_pictures.jobs(tmp_path, ["a"], ["b"], ["c"]):
        flying.submit(job)
    flying._duplicates.submit(0.0)
    assert len(client.sent) == 3  # three workers, three jobs
    client.sent["run-a/part-00001/1"].end(answer())
    flying.next_completed()
    assert len(client.sent) == 3  # not asked to
    flying._duplicates.submit(0.0)
    flying._duplicates.submit(0.0)
    assert len(client.sent) == 4  # once, and no worker is free after it


def dawdle(text: str) -> str:
    """The first to look at `slow` stands still until it is overtaken, then turns to the next image."""
    job = ShardJob.from_json(json.loads(text))
    root = Path(job.config.root)
    for image in job.images:
        heartbeat(image.uri)
        if image.uri.endswith("slow") and odd_pictures._first(root / "begun"):
            while not (root / "overtaken").exists():
                threading.Event().wait(0.02)
            while True:  # until it hears that it was given up
                threading.Event().wait(0.02)
                try:
                    heartbeat("/next")
                except BaseException as error:
                    (root / "ended").write_text(type(error).__name__)
                    raise
    return json.dumps({"receipt": ShardReceipt(job.part, (), {"labeled": len(job.images)}, {}, 0, {}).to_json()})


def test_a_slow_worker_is_overtaken_and_ends_at_its_next_image(tmp_path):
    rule, seen = StragglerRule(least_seconds=0.5), []

    def on_receipt(receipt):
        seen.append(receipt.part)
        if receipt.part == PartName(0):
            (tmp_path / "overtaken").touch()

    with quick_workers(2) as cluster:
        shards = [["slow", "b"], *([f"{number}"] for number in range(5))]
        fan_out(cluster.client(), odd_pictures.jobs(tmp_path, *shards), on_receipt, work=dawdle, limit=3600, straggler_rule=rule)
        assert sorted(seen) == [PartName(number) for number in range(6)]
        waiting = threading.Event()
        for _ in range(12_000):
            if (tmp_path / "ended").exists() and (tmp_path / "ended").read_text():
                break
            waiting.wait(0.02)
        assert (tmp_path / "ended").read_text() == "WorkAbandonedError"
        again = fan_out(cluster.client(), odd_pictures.jobs(tmp_path, ["x"], ["y"], ["z"]), lambda _: None, work=odd_pictures.look)
        assert len(again) == 3  # both workers are there


def test_among_many_workers_a_job_is_no_suspect_before_its_second_death(tmp_path):
    class Crowd:
        most_workers, room = fanout.MANY_WORKERS, 1

        def __init__(self):
            self.waiting, self.landed = [], []

        def __len__(self):
            return len(self.waiting)

        def may_suspect(self, suspects):
            return True

        def fill(self, jobs):
            new = list(jobs)
            self.waiting += new
            return bool(new)

        def next_completed(self, repeat):
            job = self.waiting.pop(0)
            self.landed.append(job.part)
            return job, WorkerFailure(FailureCause.DIED)

    crowd = Crowd()
    suspects = fanout._run_concurrently(crowd, fanout._Jobs(odd_pictures.jobs(tmp_path, ["a"], ["b"])), lambda _: None)
    assert crowd.landed == [PartName(0), PartName(1)] * 2
    assert [job.part for job in suspects] == [PartName(0), PartName(1)]
    few = Crowd()
    few.most_workers = fanout.MANY_WORKERS - 1
    fanout._run_concurrently(few, fanout._Jobs(odd_pictures.jobs(tmp_path, ["a"])), lambda _: None)
    assert few.landed == [PartName(0)]


@pytest.mark.parametrize("number", [errno.ENOTEMPTY, errno.ENOENT])
def test_a_folder_goes_although_somebody_still_writes_there(tmp_path, monkeypatch, number):
    folder, remove = tmp_path / "staging", shutil.rmtree
    folder.mkdir()

    def overtaken(full):
        """A file came, or took its final name, while the folder was emptied."""
        monkeypatch.setattr(shutil, "rmtree", remove)
        (folder / "late").touch()
        raise OSError(number, "as told by the system", full)

    monkeypatch.setattr(shutil, "rmtree", overtaken)
    remove_folder(str(folder))
    assert not folder.exists()
    remove_folder(str(folder))  # absent by now


def test_a_folder_that_cannot_be_removed_is_told(tmp_path, monkeypatch):
    (tmp_path / "staging").mkdir()

    def refused(full):
        raise PermissionError(errno.EACCES, "permission denied", full)

    monkeypatch.setattr(shutil, "rmtree", refused)
    with pytest.raises(PermissionError):
        remove_folder(str(tmp_path / "staging"))
