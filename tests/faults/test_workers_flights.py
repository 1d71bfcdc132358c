"""Answers that never arrive, by a client that only pretends: a worker may die between its answer and the moment when it is fetched."""

import json
from concurrent.futures import CancelledError
from types import SimpleNamespace

import pytest
from distributed import KilledWorker

from fer_core.errors import ClusterError
from fer_core.run.part_name import PartName
from fer_core.run.receipts import ShardReceipt
from tasks.execution.poison_isolation import FailureCause, WorkerFailure
from tasks.execution.submission import SubmissionTimeouts, TaskSubmitter
from tests.faults import odd_pictures

NOTHING_COMES_LATE = SubmissionTimeouts(cause=0.01)
"""Nor why a worker ended: `test_workers_fanout` has nannies that report it late."""


class Future:
    """Ends at once, as its script says: an answer, an error that fetching it raises, or a status."""

    def __init__(self, key, part, script):
        self.key, self.part, self.script = key, part, script
        self.status = script if isinstance(script, str) else "finished"

    def result(self, timeout):
        if isinstance(self.script, Exception):
            raise self.script
        return json.dumps({"receipt": ShardReceipt(self.part, (), {"labeled": 1}, {}, 0, {}).to_json()})

    def add_done_callback(self, callback):
        callback(self)

    def release(self):
        pass


class Client:
    """Sends nothing anywhere."""

    scheduler = SimpleNamespace(address="tcp://nowhere:1")
    status = "running"

    def __init__(self, *scripts):
        self.scripts, self.sent, self.handlers = list(scripts), [], {}

    def submit(self, watched, work, text, topic, limit, report_images, key, pure, resources):
        self.sent.append(key)
        return Future(key, PartName.parse(json.loads(text)["part"]), self.scripts.pop(0))

    def nthreads(self):
        return {"tcp://worker:1": 1}

    def subscribe_topic(self, topic, handler):
        self.handlers[topic] = handler


def landed(tmp_path, *scripts):
    client = Client(*scripts)
    sent = TaskSubmitter(client, odd_pictures.look, 300, 60, timeouts=NOTHING_COMES_LATE)
    sent.submit(*odd_pictures.jobs(tmp_path, ["a"]))
    return client, sent.next_completed()[1]


KILLED = KilledWorker("key", SimpleNamespace(address="tcp://worker:1"), 0)


@pytest.mark.parametrize("loss", ["lost", "pending", TimeoutError()])
def test_an_answer_that_died_with_its_worker_is_asked_for_again(tmp_path, loss):
    client, answer = landed(tmp_path, loss, None)
    assert isinstance(answer, ShardReceipt)
    assert client.sent == ["run-a/part-00000/1", "run-a/part-00000/2"]


def test_a_worker_that_dies_of_doing_it_again_is_one_more_death(tmp_path):
    client, answer = landed(tmp_path, KILLED, KILLED, KILLED)
    assert answer == WorkerFailure(FailureCause.DIED, began=False)
    assert len(client.sent) == 3  # not known to have begun, it is passed over twice


@pytest.mark.parametrize(
    ("topic", "told", "cause"),
    [
        # what Dask says, as a worker showed that was stopped and one that ate up its memory
        ("scheduler", {"action": "worker-ttl-timed-out", "workers": ["tcp://worker:1"], "ttl": 60}, FailureCause.FROZEN),
        ("scheduler", {"action": "worker-ttl-timed-out", "workers": ["tcp://worker:2"], "ttl": 60}, FailureCause.DIED),
        ("scheduler", {"action": "restart-workers", "workers": ["tcp://worker:1"]}, FailureCause.DIED),
        ("worker-restart-memory", {"worker": "tcp://worker:1", "pid": 7, "rss": 10**9}, FailureCause.MEMORY),
        ("worker-restart-memory", {"worker": "tcp://worker:2", "pid": 7, "rss": 10**9}, FailureCause.DIED),
    ],
)
def test_why_a_worker_was_ended_is_heard(tmp_path, topic, told, cause):
    client = Client(KILLED)
    sent = TaskSubmitter(client, odd_pictures.look, 300, 60, timeouts=NOTHING_COMES_LATE)
    sent.submit(*odd_pictures.jobs(tmp_path, ["a"]))
    mine = next(name for name in client.handlers if name.startswith("ferflow-"))
    client.handlers[mine]((0.0, {"key": "run-a/part-00000/1"}))
    client.handlers[topic]((0.0, told))
    assert sent.next_completed()[1] == WorkerFailure(cause)


@pytest.mark.parametrize("loss", ["cancelled", CancelledError()])
def test_a_scheduler_that_forgets_its_jobs_is_one_line(tmp_path, loss):
    with pytest.raises(ClusterError, match=r"^the Dask scheduler at tcp://nowhere:1 went away$"):
        landed(tmp_path, loss)
