"""What a caller may give as an image -> its address, its encoded bytes or its pixels."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_core.api.pixels import array_pixels, is_tensor, pil_pixels, tensor_pixels
from fer_core.collection.inventory import local_source
from fer_core.errors import UsageError
from fer_core.storage.uri import cut_short, holds_credentials, is_too_long, local_uri, scheme, without_credentials

SHAPE: Final = np.dtype("<i8")
"""Of height and width before pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class GivenImage:
    """One image, of which one field is set."""

    uri: str | None = None
    """As the flow writes it into `image_uri`."""
    data: bytes | None = None
    """The encoded file."""
    pixels: NDArray[np.uint8] | None = None
    """(H, W, 3) RGB."""

    @property
    def content(self) -> bytes:
        """What `image_sha256` is over, if there is no address: the file, or height and width (8 bytes each) and the pixels."""
        if self.data is not None:
            return self.data
        assert self.pixels is not None
        return np.array(self.pixels.shape[:2], SHAPE).tobytes() + self.pixels.tobytes()

    @property
    def held(self) -> int:
        """Bytes of memory until it is processed."""
        return len(self.data or b"") + (0 if self.pixels is None else self.pixels.nbytes)


def each_image(images: object) -> Iterator[GivenImage]:
    """One image, or several, one after another. UsageError for what is neither an image nor iterable, naming its position."""
    several = images if _is_several(images) else [images]
    assert isinstance(several, Iterable)
    for position, image in enumerate(several):
        try:
            yield _given(image)
        except UsageError as error:
            raise UsageError(f"image {position}: {error}") from error


def count_of(images: object) -> int | None:
    """How many images there are; None for a generator."""
    if not _is_several(images):
        return 1
    return len(images) if hasattr(images, "__len__") else None


def _is_several(images: object) -> bool:
    """One image may be iterable, too: a text, bytes, an array of up to three axes."""
    if isinstance(images, np.ndarray) or is_tensor(images):
        return len(images.shape) == 4 or images.dtype == object
    return isinstance(images, Iterable) and not isinstance(images, str | os.PathLike | bytes | bytearray | memoryview | Image.Image)


def _given(image: object) -> GivenImage:
    if isinstance(image, str | os.PathLike):
        return GivenImage(uri=_uri(os.fspath(image)))
    if isinstance(image, bytes | bytearray | memoryview):
        return GivenImage(data=bytes(image))
    if isinstance(image, Image.Image):
        return GivenImage(pixels=pil_pixels(image))
    if is_tensor(image):
        return GivenImage(pixels=tensor_pixels(image))
    if isinstance(image, np.ndarray):
        return GivenImage(pixels=array_pixels(image))
    raise UsageError(f"a path, an address, encoded bytes, an array, a PIL image or a tensor is needed, not {type(image).__name__}")


def _uri(name: str | bytes) -> str:
    text = os.fsdecode(name)
    if not text or "\0" in text:
        raise UsageError("an empty path, or one with a null character")
    if is_too_long(text):
        return cut_short(text)
    if scheme(text) == "file":
        return local_uri(local_source(text))
    return without_credentials(text) if holds_credentials(text) else text
