"""Pictures in an object store, requested before their turn: a request takes tens of milliseconds, and can run while the current picture is
processed. Bounded in requests and in bytes, so that a worker's memory is known beforehand.
"""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from types import TracebackType
from typing import Final, Self

from fer_core.run.shard_job import ImageRef
from fer_core.storage.uri import scheme

REQUESTS_AHEAD: Final = 16
"""A worker's, at most. A store that answers after 100 ms then gives 160 pictures a second, more than a core processes."""
BYTES_AHEAD: Final = 64 * 2**20
"""Listed sizes of the pictures that are requested before their turn, together; a larger one is requested alone."""

Read = Callable[[str, int, int | None], bytes]
"""`store.read_uri`, or a substitute."""


class ReadPrefetcher:
    """The bytes of some images, one after another. A context manager: its end does not wait for pending ones.

    Images on local disks are read when it is their turn: there the kernel reads ahead. `take` and `turn` are called in one thread; other
    threads may wait for the results.
    """

    def __init__(self, images: Iterable[ImageRef], limit: int, read: Read, bytes_ahead: int = BYTES_AHEAD) -> None:
        """limit: most bytes of an image, also the assumed size of one of unknown size."""
        self._read, self._limit, self._bytes_ahead = read, limit, bytes_ahead
        self._coming = deque(images)
        self._asked: deque[tuple[ImageRef, Future[bytes] | None]] = deque()
        self._bytes = 0
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(REQUESTS_AHEAD, thread_name_prefix="read-ahead")  # starts no thread before it is needed

    def take(self, image: ImageRef) -> bytes:
        """The next image, or the error of reading it. ValueError when it is another one's turn."""
        return self.turn(image)()

    def turn(self, image: ImageRef) -> Callable[[], bytes]:
        """A function that waits for the next image; call it once, in any thread. ValueError when it is another one's turn."""
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
            if self._asked and self._bytes + size > self._bytes_ahead:
                return
            ref = self._coming.popleft()
            remote = scheme(ref.uri) != "file"
            self._asked.append((ref, self._pool.submit(self._read, ref.uri, self._limit, ref.size) if remote else None))
            self._bytes += size

    def _size(self, ref: ImageRef) -> int:
        return self._limit if ref.size is None else min(ref.size, self._limit)
