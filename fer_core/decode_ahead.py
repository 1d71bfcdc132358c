"""Pictures decoded before their turn, in threads of their own: decoders let other threads run, and a device that looks at many pictures a
second wants more than one core can decode.

Bounded in number and in pixels, so that a worker's memory is known beforehand: see `worker_memory`.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Self

from fer_core.pixel_budget import PixelBudget
from fer_core.read_ahead import Read, ReadAhead
from fer_core.run import ImageRef
from fer_core.types import Picture

PIXELS_AHEAD: Final = 2**25
"""Of pictures that are being decoded, wait or are looked at, together; a larger one is decoded alone."""

Decode = Callable[[bytes, Callable[[int], None]], Picture]
"""Bytes, and what is to be told the number of pixels before they are decoded, as `decode.decode` does."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of one image's bytes."""

    data: bytes
    """As they were read; empty where that failed."""
    sha256: str | None
    """None where nothing was read."""
    picture: Picture | None
    error: Exception | None
    """Why there is no picture."""
    held: int
    """Pixels of the budget that it has until they are given back."""
    read_seconds: float
    decode_seconds: float


class DecodeAhead:
    """The pictures of some images, one after another. A context manager: what is still on its way at the end is not waited for."""

    def __init__(self, images: Sequence[ImageRef], limit: int, read: Read, decode: Decode, *, threads: int, waiting: int) -> None:
        """limit: most bytes of an image. threads: that decode; with 0 a picture is decoded when it is its turn, by whoever takes it.

        waiting: pictures that may be ready before their turn, besides.
        """
        self._coming, self._decode = deque(enumerate(images)), decode
        self._ahead = ReadAhead(images, limit, read)
        self._most = threads + waiting if threads else 1
        self._asked: deque[tuple[ImageRef, Callable[[], Decoded]]] = deque()
        self._budget = PixelBudget(PIXELS_AHEAD)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode-ahead") if threads else None

    def take(self, image: ImageRef) -> Decoded:
        """The next image. `give_back` has to follow once its pixels are needed no more. ValueError when it is another one's turn."""
        self._ask()
        if not self._asked or self._asked[0][0] != image:
            raise ValueError(f"it is not the turn of {image.uri}")
        wait = self._asked.popleft()[1]
        if self._pool is not None:
            self._ask()
        return wait()

    def give_back(self, decoded: Decoded) -> None:
        """Its pixels are needed no more."""
        self._budget.give_back(decoded.held)

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
            self._asked.append((ref, work if self._pool is None else self._pool.submit(work).result))

    def _one(self, turn: int, wait: Callable[[], bytes]) -> Decoded:
        start = time.perf_counter()
        data, sha256, read, held = b"", None, None, 0

        def admit(pixels: int) -> None:
            nonlocal held
            self._budget.take(turn, pixels)
            held = pixels

        try:
            data = wait()
            read = time.perf_counter()
            sha256 = hashlib.sha256(data).hexdigest()
            picture, error = self._decode(data, admit), None
        except Exception as caught:  # noqa: BLE001  whatever it is, it belongs to this image, and is raised at its turn
            picture, error = None, caught
            self._budget.give_back(held)
            held = 0
        self._budget.skip(turn)
        now = time.perf_counter()
        read = now if read is None else read
        return Decoded(data, sha256, picture, error, held, read - start, now - read)
