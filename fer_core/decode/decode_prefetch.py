"""Pictures decoded before their turn, in threads: decoders release the interpreter's lock, and a fast device processes more pictures a
second than one core can decode.

Bounded in number and in pixels, so that a worker's memory is known beforehand: see `memory_estimate`.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock
from types import TracebackType
from typing import Final, Self

from fer_core.decode.memory_budget import PixelBudget
from fer_core.decode.perceptual_hash import perceptual_hash
from fer_core.decode.read_prefetch import Read, ReadPrefetcher
from fer_core.run.shard_job import ImageRef
from fer_core.types import Picture

PIXELS_AHEAD: Final = 2**25
"""Of pictures that are being decoded, are waiting or are being processed, together; a larger one is decoded alone."""
PIXELS_A_PICTURE: Final = 2**20
"""Times the pictures of a batch is the bound where that is more: while a device processes some, others are decoded."""

Decode = Callable[[bytes, Callable[[int], None]], Picture]
"""Bytes, and a callback that gets the number of pixels before they are decoded, as in `decoder.decode`."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Result of reading and decoding one image."""

    data: bytes
    """As they were read; empty where that failed."""
    sha256: str | None
    """None where nothing was read."""
    picture: Picture | None
    """None of a copy, too: an image of the same bytes, whose turn came before, has it."""
    error: Exception | None
    """Why there is no picture; None of a copy."""
    held: int
    """Pixels of the budget that it holds until `release`."""
    read_seconds: float
    decode_seconds: float
    phash: str | None = None
    """See `perceptual_hash`."""


@dataclass(frozen=True, slots=True)
class _Asked:
    image: ImageRef
    turn: int
    work: Callable[[], Decoded]
    future: "Future[Decoded] | None"
    """None where the consumer does the work."""


class DecodePrefetcher:
    """The pictures of some images, one after another. A context manager: its end does not wait for pending ones."""

    def __init__(
        self, images: Sequence[ImageRef], limit: int, read: Read, decode: Decode, *, threads: int, waiting: int, pixels: int | None = None
    ) -> None:
        """limit: most bytes of an image. threads: that decode; with 0 the consumer decodes a picture when it is its turn.

        waiting: pictures that may be ready before their turn, besides. pixels: the bound, by default as the constants say.
        """
        self.pixels = max(PIXELS_AHEAD, PIXELS_A_PICTURE * waiting // 2) if pixels is None else pixels
        self._coming, self._decode = deque(enumerate(images)), decode
        self._ahead = ReadPrefetcher(images, limit, read)
        self._most = threads + waiting if threads else 1
        self._asked: deque[_Asked] = deque()
        self._budget = PixelBudget(self.pixels)
        self._turns: dict[str, int] = {}
        """First turn of each content so far, by digest."""
        self._turns_lock = Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode-ahead") if threads else None

    def take(self, image: ImageRef) -> Decoded:
        """The next image. `release` has to follow once its pixels are needed no more. ValueError when it is another one's turn."""
        asked = self._next(image)
        self._asked.popleft()
        if asked.future is None:
            return asked.work()
        self._ask()
        return asked.future.result()

    def is_short(self, image: ImageRef) -> bool:
        """Whether the next image cannot come before the consumer releases the pixels it holds. Waits until that is known."""
        asked = self._next(image)
        return asked.future is not None and not self._budget.wait(asked.turn, asked.future.done)

    def _next(self, image: ImageRef) -> "_Asked":
        self._ask()
        if not self._asked or self._asked[0].image != image:
            raise ValueError(f"it is not the turn of {image.uri}")
        return self._asked[0]

    def release(self, decoded: Decoded) -> None:
        """Its pixels are needed no more."""
        self._budget.release(decoded.held)

    def __enter__(self) -> Self:
        self._ahead.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._budget.close()
        self._ahead.__exit__(kind, error, trace)
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self) -> None:
        while self._coming and len(self._asked) < self._most:
            turn, ref = self._coming.popleft()
            work = partial(self._one, turn, self._ahead.turn(ref))
            future = None if self._pool is None else self._pool.submit(work)
            if future is not None:
                future.add_done_callback(lambda _: self._budget.notify())
            self._asked.append(_Asked(ref, turn, work, future))

    def _one(self, turn: int, wait: Callable[[], bytes]) -> Decoded:
        start = time.perf_counter()
        data, sha256, read, held, phash = b"", None, None, 0, None

        def admit(pixels: int) -> None:
            nonlocal held
            if self._pool is not None:  # else only the caller, which waits here, could release any
                self._budget.take(turn, pixels)
                held = pixels

        try:
            data = wait()
            read = time.perf_counter()
            sha256 = hashlib.sha256(data).hexdigest()
            picture, error = None if self._is_copy(sha256, turn) else self._decode(data, admit), None
            phash = None if picture is None else perceptual_hash(picture.pixels)
        except Exception as caught:  # noqa: BLE001  whatever it is, it belongs to this image, and is raised at its turn
            picture, error = None, caught
            self._budget.release(held)
            held = 0
        self._budget.skip(turn)
        now = time.perf_counter()
        read = now if read is None else read
        return Decoded(data, sha256, picture, error, held, read - start, now - read, phash)

    def _is_copy(self, sha256: str, turn: int) -> bool:
        """Whether the content is known to be that of an image whose turn comes before. Of two that are decoded at once, both may be."""
        with self._turns_lock:
            first = min(turn, self._turns.get(sha256, turn))
            self._turns[sha256] = first
        return first < turn
