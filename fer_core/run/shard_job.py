"""The work of one shard. Plain values, JSON both ways."""

from dataclasses import dataclass, fields
from typing import Any, Final, Self

from fer_core.run.configuration import RunConfig
from fer_core.run.part_name import PartName


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One listed image, as the inventory saw it."""

    uri: str
    size: int | None
    """Bytes; None where the listing has none (named by a list file, but absent)."""
    etag: str | None
    modified_us: int | None
    """Microseconds since the epoch, UTC."""
    earlier_part: str | None = None
    """Images part with the result of an earlier run of the same pipeline for this URI; see `schema.CANDIDATES`."""
    failed_before: bool = False
    """Whether the latest result of an earlier run for this URI is in quarantine."""
    earlier_uri: str | None = None
    """The URI of that result where it is another one: the image may be a copy of it."""


_IMAGE: Final = tuple(one.name for one in fields(ImageRef))


@dataclass(frozen=True, slots=True)
class ShardJob:
    """Input of a worker: configuration and listed images, no pixels."""

    config: RunConfig
    part: PartName
    """What it writes. A function of the plan alone."""
    images: tuple[ImageRef, ...]
    crashed: bool = False
    """True for a single image that keeps killing its worker: write its `crashed` row without reading it."""
    reason: str = "the worker died each time it processed this image"
    """The reason in that row."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back. Images are columns: one job is written for every shard, by a single process."""
        images = {name: [getattr(image, name) for image in self.images] for name in _IMAGE}
        return {"config": self.config.to_json(), "part": str(self.part), "images": images, "crashed": self.crashed, "reason": self.reason}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            config=RunConfig.from_json(value["config"]),
            part=PartName.parse(value["part"]),
            images=tuple(ImageRef(*image) for image in zip(*(value["images"][name] for name in _IMAGE), strict=True)),
            crashed=value["crashed"],
            reason=value["reason"],
        )
