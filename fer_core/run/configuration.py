"""The configuration of one labelling run. Plain values, JSON both ways."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Self

from fer_core.hashing import json_sha256
from fer_core.quality_thresholds import QualityRule
from fer_core.validation import check_entries

ALIGNMENT: Final = "arcface-112-v1"
"""Changes whenever the crop of a given face changes."""
QUALITY: Final = "quality-v1"
"""Changes whenever the size, sharpness, exposure or pose of a given face changes."""

TURNED: Final = "quarters-v1"
"""Changes whenever other faces are found in pictures that lie on their side or head."""

LUMA: Final = "luma-v1"
"""Changes whenever crops of pictures that are decoded twice change."""

KEPT_CROPS: Final = "relabel:kept-crops"
"""`RunConfig.source` of a relabelling. No collection has such an address, so no listing makes images of it count as deleted."""

MAX_BYTES: Final = 64 * 2**20
MAX_PIXELS: Final = 100_000_000
MOST_PIXELS: Final = 700_000_000
"""Largest `max_pixels` that can be asked for: image libraries count the bytes of a picture in 31 bits."""
MIN_FACE_PX: Final = (10.0, 100_000.0)
"""Bounds of the smallest face in pixels: detectors find none below, and no larger picture is decoded."""

_RUN_ID: Final = re.compile(r"[a-z][a-z0-9-]*")
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DECODERS: Final = re.compile(r"[1-9]\d{0,5}(?: [a-z0-9]{1,20}){0,20}", re.ASCII)
_SHA256: Final = re.compile("[0-9a-f]{64}")
_MIN_FACE: Final = re.compile(r"((?:0|[1-9]\d{0,8})(?:\.\d{0,3}[1-9])?)(%?)", re.ASCII)


def _is_min_face(text: str) -> bool:
    """Whether `decode.min_face.MinFace` writes such a text."""
    found = _MIN_FACE.fullmatch(text)
    if found is None:
        return False
    amount, least, most = float(found[1]), *MIN_FACE_PX
    return 0 < amount <= 100 if found[2] else least <= amount <= most


@dataclass(frozen=True, slots=True)
class Answering:
    """What turns aligned faces into labels: the part of a pipeline that relabelling replaces."""

    model_digest: str
    """SHA-256 of the model's file, which holds weights, sizes, temperatures and review thresholds."""
    prior: str = "training"
    """The prior that the model answers under, see `predict.answer_rule.prior_key`."""
    precision: float | None = None
    """How often labels that need no review are to be right; None: the model's own rule."""

    @property
    def key(self) -> str:
        """Runs with the same key answer alike: the model's digest where nothing else was asked for, as for runs of earlier releases."""
        return self.model_digest if self == Answering(self.model_digest) else json_sha256(asdict(self))


@dataclass(frozen=True, slots=True)
class Decoding:
    """What a run can and may read. No part of the pipeline's digest: what was read stays as it is, what was not is read when it can be."""

    decoders: str = "1"
    """Release and extras, see `decode.extras.installed_decoders`; earlier releases did not write theirs."""
    max_bytes: int = MAX_BYTES
    """Larger files are not read (`too_large`)."""
    max_pixels: int = MAX_PIXELS
    """Pictures of more pixels are not decoded (`too_large`)."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """Of a run whose configuration a manifest holds; where it says nothing valid, that of earlier releases."""
        found = {one.name: config[one.name] for one in fields(cls) if type(config.get(one.name)) is type(one.default)}
        return cls(**found) if _DECODERS.fullmatch(found.get("decoders", "1")) else cls()

    def decodes_more(self, before: "Decoding") -> bool:
        """Whether files may be read here that were `unsupported` or `unreadable` before."""
        (release, *extras), (earlier, *others) = self.decoders.split(), before.decoders.split()
        return int(release) > int(earlier) or not set(others).issuperset(extras)


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Configuration of one labelling run: all that a worker needs besides its images."""

    run_id: str
    """Matches `^[a-z][a-z0-9-]*$`."""
    run_date: str
    """Day on which the run was planned, YYYY-MM-DD, in `timezone`."""
    source: str
    """SOURCE as the user gave it."""
    root: str
    """Labels root: any fsspec URL or absolute path."""
    detector: str
    """Resolved detector spec (never `auto`), such as `builtin` or `yunet:/models/yunet.onnx`."""
    detector_identity: str
    """`Detector.identity`: names the file's digest and thresholds, not its path."""
    model: str
    """Model name or folder that workers load."""
    model_name: str
    model_digest: str
    """SHA-256 of the model's file, which holds weights, sizes, temperature and review thresholds."""
    purpose: str = ""
    """Why these faces are labelled, in the user's words."""
    keep_crops: bool = False
    shard_size: int = 1000
    device: str = "auto"
    max_bytes: int = MAX_BYTES
    max_pixels: int = MAX_PIXELS
    min_face_px: float = 16.0
    """Of runs of earlier releases: faces whose shorter box side is below this are not labelled. Not used where there is a `min_face`."""
    min_face: str | None = None
    """The smallest face, as `decode.min_face.MinFace` writes it, which also decides how finely images are searched. None: the rule of
    earlier releases, see `align.face_search`."""
    finest_px: float | None = None
    """Pixels that the smallest face has at most in the finest level of the image pyramid. None: 12, as of a share of the longest side, and
    in earlier releases."""
    turned: str | None = None
    """How pictures that lie on their side or head are searched: `TURNED`. None: not at all, as in earlier releases."""
    second_decode: str | None = None
    """What is decoded of pictures that are decoded twice, the second time: `LUMA`. None: all of them, as in earlier releases."""
    quality_rule: QualityRule = field(default_factory=QualityRule)
    """Labelled faces that are worse than this need review, however sure the network is."""
    prior: str = "training"
    """The prior that the model answers under, see `predict.answer_rule.prior_key`."""
    precision: float | None = None
    """How often labels that need no review are to be right; None: the model's own rule."""
    timezone: str = "UTC"
    """Of `run_date`; that of earlier releases if absent."""
    anonymous: bool = False
    """Whether images in S3 are read without credentials."""
    decoders: str = "1"
    """See `Decoding`, also for the limits above."""
    started_us: int = 0
    """When the run was planned, microseconds since the epoch, UTC. It is stamped on every row (`labeled_at`, `seen_at`), so that a shard
    that is run twice writes the same bytes twice."""

    @property
    def answering(self) -> Answering:
        """Model, prior and precision."""
        return Answering(self.model_digest, self.prior, self.precision)

    @property
    def decoding(self) -> Decoding:
        """Decoders and limits."""
        return Decoding(self.decoders, self.max_bytes, self.max_pixels)

    def answered_by(self, answering: Answering) -> "RunConfig":
        """The same with another model, prior and precision."""
        return replace(self, **asdict(answering))

    @property
    def pipeline_digest(self) -> str:
        """Digest of what changes answers: detector, alignment, model, prior, thresholds; not limits, workers, shards, device or paths.

        The limits in it are those of earlier releases, which had no others. What runs of earlier releases did not have is left out where
        it changes nothing: their digests stay as they are.
        """
        later = {"prior": self.prior} if self.prior != "training" else {}
        asked = {"precision": self.precision} if self.precision is not None else {}
        turned = {"turned": self.turned} if self.turned is not None else {}
        second = {"second_decode": self.second_decode} if self.second_decode is not None else {}
        return json_sha256(
            {
                **later,
                **asked,
                **turned,
                **second,
                **self._smallest,
                "detector": self.detector_identity,
                "alignment": ALIGNMENT,
                "model": self.model_digest,
                "max_bytes": MAX_BYTES,
                "max_pixels": MAX_PIXELS,
                "quality": {"measures": QUALITY, **asdict(self.quality_rule)},
            }
        )

    @property
    def _smallest(self) -> dict[str, Any]:
        """The one of both rules for the smallest face that holds."""
        finest = {"finest_px": self.finest_px} if self.finest_px is not None else {}
        return {"min_face_px": self.min_face_px} if self.min_face is None else {"min_face": self.min_face, **finest}

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        rules = ("min_face_px", "min_face", "finest_px")
        return {name: value for name, value in asdict(self).items() if name not in rules or name in self._smallest}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The inverse of `to_json`; TypeError, ValueError or KeyError for anything else."""
        config = cls(**{**value, "quality_rule": QualityRule(**value.get("quality_rule", {}))})
        check_entries(config)
        if not _RUN_ID.fullmatch(config.run_id) or not _DAY.fullmatch(config.run_date):  # which stand in paths
            raise ValueError("not the id or the date of a run")
        if min(config.shard_size, config.max_bytes, config.max_pixels) < 1 or config.started_us < 0:
            raise ValueError("sizes are at least 1, and times are not before 1970")
        if config.min_face is not None and not _is_min_face(config.min_face):
            raise ValueError("the smallest face is not as it is written")
        if config.finest_px is not None and not 1 <= config.finest_px <= MIN_FACE_PX[1]:
            raise ValueError("not the pixels of a smallest face")
        if not _DECODERS.fullmatch(config.decoders):
            raise ValueError("not the release and the extras of decoders")
        if config.turned not in {None, TURNED}:
            raise ValueError("pictures are turned in a way that this release does not know")
        if config.second_decode not in {None, LUMA}:
            raise ValueError("pictures are decoded again in a way that this release does not know")
        return config
