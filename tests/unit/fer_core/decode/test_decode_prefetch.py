"""Pictures that are decoded before their turn: in order, each with its own error, bounded in pixels."""

import io
import threading
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from fer_core.decode.decode_prefetch import DecodePrefetcher
from fer_core.decode.decoder import DecodeLimits, decode
from fer_core.errors import ImageError
from fer_core.run.shard_job import ImageRef
from fer_core.types import Picture

LIMIT = 10**6


def png(width: int, level: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, 10), (level, level, level)).save(stream, "PNG")
    return stream.getvalue()


def refs(count: int, place: str = "/photos") -> list[ImageRef]:
    return [ImageRef(f"{place}/{number:03d}.png", 100, None, None) for number in range(count)]


def read(uri: str, limit: int, size: int | None) -> bytes:
    number = int(uri[-7:-4])
    if number % 5 == 3:
        raise ImageError("missing", "the file is not there")
    return f"nonsense {number}".encode() if number % 5 == 4 else png(20, number)


def different(uri: str, limit: int, size: int | None) -> bytes:
    """Copies are not decoded, so every picture has its own content."""
    return png(20, int(uri[-7:-4]))


def plainly(data: bytes, admit: Callable[[int], None]) -> Picture:
    return decode(data, DecodeLimits(), None, admit)


@pytest.mark.parametrize("place", ["/photos", "s3://bucket/photos"])
@pytest.mark.parametrize("threads", [0, 1, 4])
def test_each_picture_at_its_turn_with_its_own_error(threads: int, place: str) -> None:
    images = refs(40, place)
    with DecodePrefetcher(images, LIMIT, read, plainly, threads=threads, waiting=3) as ahead:
        for number, ref in enumerate(images):
            decoded = ahead.take(ref)
            assert (decoded.picture is None) == (decoded.error is not None) == (number % 5 >= 3)
            assert (decoded.sha256 is None) == (number % 5 == 3)
            assert isinstance(decoded.error, ImageError) or decoded.picture is not None
            if decoded.picture is not None:
                assert int(decoded.picture.pixels[0, 0, 0]) == number
            assert min(decoded.read_seconds, decoded.decode_seconds) >= 0
            ahead.release(decoded)
        with pytest.raises(ValueError, match="not the turn"):
            ahead.take(images[0])


def test_pixels_in_memory_are_bounded() -> None:
    images, lock, alive, most, several = refs(30), threading.Lock(), [0], [0], threading.Event()

    def counted(data: bytes, admit: Callable[[int], None]) -> Picture:
        def told(pixels: int) -> None:
            admit(pixels)
            with lock:
                alive[0] += pixels
                most[0] = max(most[0], alive[0])
                if alive[0] > 200:
                    several.set()

        return decode(data, DecodeLimits(), None, told)

    with DecodePrefetcher(images, LIMIT, different, counted, threads=4, waiting=20, pixels=500) as ahead:
        for ref in images:
            decoded = ahead.take(ref)
            assert several.wait(240)  # more than one at a time
            with lock:
                alive[0] -= decoded.held
            ahead.release(decoded)
    assert most[0] <= 500  # no more than fit


def test_one_larger_than_the_budget_comes_alone() -> None:
    images = refs(8)
    with DecodePrefetcher(images, LIMIT, different, plainly, threads=3, waiting=3, pixels=50) as ahead:
        for ref in images:
            decoded = ahead.take(ref)
            assert decoded.picture is not None
            ahead.release(decoded)


def test_leaving_early_leaves_no_thread_behind() -> None:
    """Threads that wait for pixels would keep a process from ending."""
    before = set(threading.enumerate())
    with DecodePrefetcher(refs(30), LIMIT, different, plainly, threads=3, waiting=5, pixels=200) as ahead:
        ahead.take(refs(30)[0])  # and never gives it back
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive()


def test_what_an_odd_decoder_raises_stays_with_its_picture() -> None:
    def odd(data: bytes, admit: Callable[[int], None]) -> Picture:
        if np.frombuffer(data, np.uint8).sum() % 2:
            raise KeyError("what is this")
        return decode(data, DecodeLimits(), None, admit)

    images = refs(3)
    with DecodePrefetcher(images, LIMIT, different, odd, threads=2, waiting=2) as ahead:
        found = [ahead.take(ref) for ref in images]
        kinds = [type(decoded.error) for decoded in found]
    expected = [KeyError if np.frombuffer(png(20, number), np.uint8).sum() % 2 else type(None) for number in range(3)]
    assert KeyError in expected
    assert kinds == expected


@pytest.mark.parametrize("threads", [1, 3])
def test_it_is_told_who_waits_for_what_is_held(threads: int) -> None:
    images = refs(6)  # of which two and a half fit
    with DecodePrefetcher(images, LIMIT, different, plainly, threads=threads, waiting=3, pixels=500) as ahead:
        held = []
        for ref in images[:2]:
            assert not ahead.is_short(ref)
            held.append(ahead.take(ref))
        assert ahead.is_short(images[2])
        ahead.release(held[0])
        assert not ahead.is_short(images[2])
        held.append(ahead.take(images[2]))
        assert ahead.is_short(images[3])
