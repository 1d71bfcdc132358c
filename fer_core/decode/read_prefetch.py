"""Pictures in an object store, asked for before their turn: a request takes tens of milliseconds, and while a picture is looked at the next
ones can be on their way. Bounded in requests and in bytes, so that a worker's memory is known beforehand.
"""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from types import TracebackType
from typing import Final, Self

from fer_core.run import ImageRef
from fer_core.storage.uri import scheme

REQUESTS_AHEAD: Final = 16
"""A worker's, at most. A store that answers after 100 ms then gives 160 pictures a second, which is more than a core looks at."""
BYTES_AHEAD: Final = 64 * 2**20
"""Listed sizes of the pictures that are there or on their way before their turn, together; a larger one is asked for alone."""

Read = Callable[[str, int, int | None], bytes]
"""`store.read_uri`, or something that takes its place."""


class ReadPrefetcher:
    """The bytes of some images, one after another. A context manager: what is still on its way at the end is not waited for.

    Images on local disks are read when it is their turn: there the kernel reads ahead. Turns are given in one thread; what is turned to
    may be waited for in others.
    """

    def __init__(self, images: Iterable[ImageRef], limit: int, read: Read) -> None:
        """limit: most bytes of an image, and what one of unknown size is taken for."""
        self._read, self._limit = read, limit
        self._coming = deque(images)
        self._asked: deque[tuple[ImageRef, Future[bytes] | None]] = deque()
        self._bytes = 0
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(REQUESTS_AHEAD, thread_name_prefix="read-ahead")  # starts no thread before it is needed

    def take(self, image: ImageRef) -> bytes:
        """The next image, or whatever error its reading ended with. ValueError when it is another one's turn."""
        return self.turn(image)()

    def turn(self, image: ImageRef) -> Callable[[], bytes]:
        """The next image, as something that waits for it; to be called once, in any thread. ValueError when it is another one's turn."""
        with self._lock:
            self._ask()
            if not self._asked or self._asked[0][0] != image:
                raise ValueError(f"it is not the turn of {image.uri}")
            ref, future = self._asked.popleft()
        return partial(self._waited_for, ref, future)

    def _waited_for(self, ref: ImageRef, future: "Future[bytes] | None") -> bytes:
        try:
            return self._read(ref.uri, self._limit, ref.size) if future is None else future.result()
        finally:
            with self._lock:
                self._bytes -= self._size(ref)
                self._ask()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            self._coming.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self) -> None:
        while self._coming and len(self._asked) < REQUESTS_AHEAD:
            size = self._size(self._coming[0])
            if self._asked and self._bytes + size > BYTES_AHEAD:
                return
            ref = self._coming.popleft()
            remote = scheme(ref.uri) != "file"
            self._asked.append((ref, self._pool.submit(self._read, ref.uri, self._limit, ref.size) if remote else None))
            self._bytes += size

    def _size(self, ref: ImageRef) -> int:
        return self._limit if ref.size is None else min(ref.size, self._limit)
