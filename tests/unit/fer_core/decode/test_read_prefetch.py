"""Pictures that are asked for before their turn: in order, bounded, and no error before its turn either."""

import threading

import pytest

from fer_core.decode.read_prefetch import REQUESTS_AHEAD, ReadPrefetcher
from fer_core.errors import ImageError, OutageError
from fer_core.run.shard_job import ImageRef

LIMIT = 1000


def images(count, size=10, place="s3://bucket/photos"):
    return [ImageRef(f"{place}/{number:03d}.jpg", size, None, None) for number in range(count)]


class Storage:
    """Answers when it is let, and notes who asked."""

    def __init__(self):
        self.asked, self.open, self.most = [], 0, 0
        self.let, self.changed = threading.Event(), threading.Condition()
        self.let.set()

    def read(self, uri, limit, listed):
        with self.changed:
            self.asked.append((uri, threading.current_thread() is threading.main_thread()))
            self.open += 1
            self.most = max(self.most, self.open)
            self.changed.notify_all()
        assert self.let.wait(240)
        with self.changed:
            self.open -= 1
        if "broken" in uri:
            raise ImageError("missing", "the file is not there")
        return uri.encode()

    def wait_for(self, asked):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.asked) >= asked, 240)


def test_images_come_in_their_order():
    storage, wanted = Storage(), images(100)
    with ReadPrefetcher(wanted, LIMIT, storage.read) as ahead:
        assert [ahead.take(ref) for ref in wanted] == [ref.uri.encode() for ref in wanted]
        with pytest.raises(ValueError, match="not the turn"):
            ahead.take(wanted[0])
    assert sorted(uri for uri, _ in storage.asked) == [ref.uri for ref in wanted]


def test_some_are_on_their_way_while_one_is_looked_at_and_never_more():
    storage, wanted = Storage(), images(3 * REQUESTS_AHEAD)
    with ReadPrefetcher(wanted, LIMIT, storage.read) as ahead:
        ahead.take(wanted[0])
        storage.wait_for(1 + REQUESTS_AHEAD)  # the second one has not been taken yet
        assert len(storage.asked) == 1 + REQUESTS_AHEAD
        for ref in wanted[1:]:
            ahead.take(ref)
    assert storage.most <= REQUESTS_AHEAD


def test_requests_are_really_made_at_once():
    storage, wanted = Storage(), images(REQUESTS_AHEAD)
    storage.let.clear()
    taken = []
    with ReadPrefetcher(wanted, LIMIT, storage.read) as ahead:
        extractor = threading.Thread(target=lambda: taken.extend(ahead.take(ref) for ref in wanted))
        extractor.start()
        storage.wait_for(REQUESTS_AHEAD)  # though none was answered
        storage.let.set()
        extractor.join(60)
    assert len(taken) == storage.most == REQUESTS_AHEAD


@pytest.mark.parametrize(("sizes", "ahead_of_first"), [([10, 40, 40, 40, 10], 2), ([10, 500, 40, 10], 1), ([10, None, 1, 1], 1)])
def test_bytes_are_bounded_and_a_large_one_comes_alone(sizes, ahead_of_first):
    storage = Storage()
    wanted = [ImageRef(f"s3://bucket/{number}.jpg", size, None, None) for number, size in enumerate(sizes)]
    with ReadPrefetcher(wanted, LIMIT, storage.read, bytes_ahead=100) as ahead:
        ahead.take(wanted[0])
        storage.wait_for(1 + ahead_of_first)
        # those after it may have been asked for together with the first; after it, what fits
        assert len(storage.asked) == 1 + ahead_of_first
        assert [ahead.take(ref) for ref in wanted[1:]] == [ref.uri.encode() for ref in wanted[1:]]


def test_an_error_comes_at_its_images_turn_and_the_next_image_after_it():
    storage = Storage()
    wanted = [ImageRef(f"s3://bucket/{name}.jpg", 1, None, None) for name in ("a", "broken", "c")]
    with ReadPrefetcher(wanted, LIMIT, storage.read) as ahead:
        assert ahead.take(wanted[0]) == b"s3://bucket/a.jpg"
        with pytest.raises(ImageError):
            ahead.take(wanted[1])
        assert ahead.take(wanted[2]) == b"s3://bucket/c.jpg"


def test_local_images_are_read_when_it_is_their_turn():
    storage, wanted = Storage(), images(5, place="/photos")
    with ReadPrefetcher(wanted, LIMIT, storage.read) as ahead:
        ahead.take(wanted[0])
        assert storage.asked == [(wanted[0].uri, True)]
        ahead.take(wanted[1])
    assert storage.asked == [(ref.uri, True) for ref in wanted[:2]]


def test_whoever_gives_up_waits_for_nobody():
    storage, wanted = Storage(), images(100)

    def read(uri, limit, listed):
        if uri == wanted[0].uri:
            raise OutageError("it is out")
        return storage.read(uri, limit, listed)

    storage.let.clear()
    with pytest.raises(OutageError), ReadPrefetcher(wanted, LIMIT, read) as ahead:
        ahead.take(wanted[0])
    assert len(storage.asked) <= REQUESTS_AHEAD
    storage.let.set()
