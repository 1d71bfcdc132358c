"""A storage that fails now and then, for good, or lists late: what a run makes of it. Pictures and tables lie in it."""

import json
import shutil
from contextlib import suppress
from itertools import count

import pytest

from fer_core.commit.lease import LeaseTimes, lease
from fer_core.commit.plan import Plan, read_plan, write_plan
from fer_core.commit.publish import is_committed, publish, staged_receipts, unfinished_shards
from fer_core.commit.recovery import finish_interrupted_commits
from fer_core.commit.verify import verify
from fer_core.errors import ImageError, LeaseError, OutageError, StoreError
from fer_core.pipeline.shard import label_shard
from fer_core.run.shard_job import ImageRef
from fer_core.storage.paths import plan_file
from fer_core.storage.retry import RetryPolicy
from fer_core.storage.store import open_store, read_uri
from tests.faults.faulty_store import REPORTED, SHORT, TRANSIENT, FaultSchedule, under
from tests.support import fakes

FACES = [0, 1, 2, 3, 0, 1, 2]
SHARD = 3
ROOT = "gs://labels/root"
RUN = fakes.config(ROOT)


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """As many tries as ever, without the waiting."""
    monkeypatch.setattr(RetryPolicy, "_waits", lambda self: iter([0.0] * (self.tries - 1)))


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    """Folders of objects, each with the same pictures."""
    folder = tmp_path_factory.mktemp("objects")
    photos = folder / "photos"
    photos.mkdir()
    with under(FaultSchedule(str(photos))):
        for number, faces in enumerate(FACES):
            open_store("gs://photos").write_bytes(f"image-{number}.png", fakes.picture(faces, seed=number))
    numbers = count()
    return lambda: str(shutil.copytree(photos, folder / f"objects-{next(numbers)}"))


def images():
    return [ImageRef(f"gs://photos/image-{number}.png", len(fakes.picture(0)), None, 1) for number in range(len(FACES))]


def go_on():
    """Begin the run, or go on with it, to its end."""
    store = open_store(ROOT)
    if not store.exists(plan_file(RUN.run_id)):
        write_plan(store, Plan(RUN, fakes.plan_table(images(), SHARD), listed=len(FACES), unchanged=0, deleted=0))
    plan = read_plan(store, RUN.run_id)
    done = staged_receipts(store, RUN.run_id)
    todo = set(unfinished_shards(plan, done))
    kept = [receipt for part, receipt in done.items() if part.number not in todo]
    made = [label_shard(job, fakes.tools()) for job in fakes.jobs(RUN, images(), SHARD) if job.part.number in todo]
    return publish(store, RUN, [*kept, *made])


def tables(folder, passing=()):
    """Every Parquet file of the root, byte by byte, where nothing is wrong with it. passing: what may lie there besides."""
    with under(FaultSchedule(folder)):
        store = open_store(ROOT)
        report = verify(store)
        assert report.problems == ()
        assert report.runs == 1
        found = {path: store.read_bytes(path) for path in store.list_files()}
    assert not [path for path in found if path.startswith("_staging/") and not path.startswith(tuple(passing))]
    return {path: data for path, data in found.items() if path.endswith(".parquet") and not path.startswith("_staging/")}


@pytest.fixture(scope="module")
def undisturbed(new):
    with under(FaultSchedule(new())) as schedule:
        go_on()
    assert not schedule.failed
    return tables(schedule.folder)


@pytest.mark.parametrize("kind", [*TRANSIENT, REPORTED, SHORT])
def test_every_request_may_fail_at_first_and_nothing_is_different(new, undisturbed, kind):
    with under(FaultSchedule(new(), kinds=(kind,), first=2)) as schedule:
        go_on()
    assert tables(schedule.folder) == undisturbed
    assert schedule.failed[kind] > 5


@pytest.mark.parametrize("seed", range(6))
def test_a_whole_run_under_changing_weather(new, undisturbed, seed):
    with under(FaultSchedule(new(), seed=seed, rate=0.2)) as schedule:
        go_on()
    assert schedule.failed.total() > 4
    assert tables(schedule.folder) == undisturbed


def test_wherever_it_fails_for_good_it_ends_in_one_line_and_is_resumed_to_the_same_end(new, undisturbed):
    with under(FaultSchedule(new())) as schedule:
        go_on()
    changes = len(schedule.changes)
    assert changes > 20
    for number in range(changes):
        with under(FaultSchedule(new(), broken_from=number)) as schedule:
            with pytest.raises(StoreError) as error:
                go_on()
            assert str(error.value).startswith("cannot ")
            assert str(error.value).endswith("Access Denied")
            assert not isinstance(error.value, OutageError), "a missing permission is not retried"
            schedule.broken_from = None
            assert go_on().run_id == RUN.run_id
        assert tables(schedule.folder) == undisturbed, number


def test_a_commit_that_fails_among_moves_is_resumed_to_the_same_end(new):
    """Parts stay apart here, so that several of a table move at the same time: any of them may have moved, and half of others."""
    with under(FaultSchedule(new())) as schedule:
        store, whole = open_store(ROOT), schedule.folder
        write_plan(store, Plan(RUN, fakes.plan_table(images(), 1), listed=len(FACES), unchanged=0, deleted=0))
        receipts = [label_shard(job, fakes.tools()) for job in fakes.jobs(RUN, images(), 1)]
        staged = shutil.copytree(whole, f"{whole}-staged")
        publish(store, RUN, receipts, largest_part=0)
        changes = len(schedule.changes)
    expected = tables(whole)
    assert len(expected) == 1 + 2 * len(FACES)
    first = next(number for number, (change, _) in enumerate(schedule.changes) if change == "cp_file")
    for number in range(0, changes - first, 3):
        folder = shutil.copytree(staged, f"{whole}-{number}")
        with under(FaultSchedule(folder)) as schedule:
            store, schedule.broken_from = open_store(ROOT), number
            with suppress(StoreError):  # where it was committed, what is left in staging goes later
                publish(store, RUN, receipts, largest_part=0)
            done = len(schedule.changes)
            schedule.broken_from = None
            publish(store, RUN, [] if is_committed(store, RUN.run_id) else staged_receipts(store, RUN.run_id).values(), largest_part=0)
        assert done == number
        assert tables(folder) == expected, number


@pytest.mark.parametrize("late", [1, 10, 1000])
def test_late_listings_cost_at_most_work_and_leftovers(new, undisturbed, late):
    """Interrupted after each change, gone on with under listings that do not know of the last ones."""
    with under(FaultSchedule(new())) as schedule:
        go_on()
    last = next(number for number, (_, path) in enumerate(schedule.changes) if path.endswith("manifest.json"))
    for number in range(0, last + 1, 2):  # the later ones remove what is listed, which may be nothing
        with under(FaultSchedule(new(), broken_from=number, late=late)) as schedule:
            with pytest.raises(StoreError, match="Access Denied"):
                go_on()
            schedule.broken_from = None
            go_on()
        assert tables(schedule.folder, passing=["_staging/run-a/"]) == undisturbed, number


def test_pieces_that_are_not_listed_yet_still_give_way_to_the_whole(new, undisturbed):
    """A commit of a shard in halves is cut off; then the whole shard is there. No reader may see both."""
    folder = new()
    with under(FaultSchedule(folder)):
        store, plan = open_store(ROOT), fakes.plan_table(images(), SHARD)
        write_plan(store, Plan(RUN, plan, listed=len(FACES), unchanged=0, deleted=0))
        first, *others = fakes.jobs(RUN, images(), SHARD)
        halves = [fakes.replace(first, part=first.part.half(half), images=first.images[half::2]) for half in (0, 1)]
        staged = [label_shard(job, fakes.tools()) for job in (*halves, *others)]
    with under(FaultSchedule(folder)) as schedule:
        schedule.broken_from = 8  # changes: one file that says what is begun, then two to a move
        with pytest.raises(StoreError, match="Access Denied"):
            publish(store, RUN, staged)
    assert [key for change, key in schedule.changes if change == "cp_file" and "part-00000-" in key]
    with under(FaultSchedule(folder)):
        whole = label_shard(first, fakes.tools())
    with under(FaultSchedule(folder, late=1000, changes=list(schedule.changes))):
        publish(store, RUN, [whole, *staged[2:]])
    assert tables(folder, passing=["_staging/run-a/"]) == undisturbed


def test_half_published_runs_are_finished_under_late_listings_without_losing_a_row(new, undisturbed):
    for number in range(12, 24):
        with under(FaultSchedule(new(), broken_from=number)) as schedule:
            with pytest.raises(StoreError, match="Access Denied"):
                go_on()
            schedule.broken_from, schedule.late = None, 4
            finish_interrupted_commits(open_store(ROOT))
            schedule.late = 0
            go_on()
        assert tables(schedule.folder, passing=["_staging/run-a/"]) == undisturbed, number


def test_no_lease_is_had_from_a_listing_that_is_late(new):
    times = LeaseTimes(expiry=0.5)
    with under(FaultSchedule(new(), late=1000)) as schedule, pytest.raises(LeaseError) as error, lease(open_store(ROOT), "run a", times):
        pass
    assert "does not list what was written" in str(error.value)
    assert schedule.changes[-1][0] == "rm_file", "the claim was withdrawn"


class TestImages:
    def test_one_that_cannot_be_had_is_that_images_fault(self, new, monkeypatch):
        with under(FaultSchedule(new())) as schedule:
            struck = schedule.strike
            monkeypatch.setattr(schedule, "strike", lambda what, path: "500" if path.endswith("2.png") else struck(what, path))
            receipt = label_shard(fakes.jobs(RUN, images(), 10)[0], fakes.tools())
        assert receipt.statuses == {"labeled": 4, "missing": 1, "no_face": 2}

    def test_a_storage_that_does_not_answer_ends_the_shard_soon(self, new):
        with under(FaultSchedule(new(), kinds=("refused",), first=10**6)) as schedule:
            with pytest.raises(OutageError, match=r"cannot read gs://photos/image-0.png: Connection refused"):
                read_uri("gs://photos/image-0.png", 10**6)
            many = [ImageRef(f"gs://photos/image-{number:03d}.png", 1, None, 1) for number in range(200)]
            with pytest.raises(OutageError):
                label_shard(fakes.jobs(RUN, many, 200)[0], fakes.tools())
        assert len(schedule.asked) < 100, "it gave up with the first image, and what was read ahead"

    def test_a_short_answer_is_asked_for_again_unless_the_image_is_shorter_now(self, new):
        with under(FaultSchedule(new(), kinds=(SHORT,), first=2)) as schedule:
            whole = read_uri("gs://photos/image-1.png", 10**6, len(fakes.picture(1)))
            assert whole == fakes.picture(1, seed=1)
            schedule.first = 0
            assert read_uri("gs://photos/image-1.png", 10**6, 10**5) == whole, "it was replaced since it was listed"

    def test_one_that_is_not_there_is_missing_at_once(self, new):
        with under(FaultSchedule(new())) as schedule, pytest.raises(ImageError) as error:
            read_uri("gs://photos/none.png", 100)
        assert error.value.status == "missing"
        assert schedule.asked.total() == 1


def test_the_weather_hangs_on_the_seed_alone(tmp_path):
    told = json.loads(FaultSchedule("x", seed=3, rate=0.5).told())
    one, two = (FaultSchedule(**{**told, "kinds": tuple(told["kinds"])}) for _ in range(2))
    requests = [("cat_file", str(number % 5)) for number in range(50)]
    assert [one.strike(*request) for request in requests] == [two.strike(*request) for request in requests]
    assert one.failed.total() > 10
