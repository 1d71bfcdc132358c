"""The start of Prefect without garbage collection."""

import gc
from collections.abc import Iterator

import pytest

from flows.server.garbage_collection import deferred_collection


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_no_collection_inside_and_none_of_what_was_there_afterwards() -> None:
    with deferred_collection():
        assert not gc.isenabled()
        kept = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() > len(kept)


def test_collection_that_was_off_stays_off() -> None:
    gc.disable()
    with deferred_collection():
        pass
    assert not gc.isenabled()


def test_collection_is_on_after_an_error() -> None:
    with pytest.raises(ImportError), deferred_collection():
        raise ImportError
    assert gc.isenabled()
