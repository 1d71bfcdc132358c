"""Parameters of the flow `label-collection`: a form in the Prefect UI, JSON in deployments."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from fer_core.collection.inventory import SourceOptions
from fer_core.collection.list_file import LIMITS, ListLimits
from fer_core.collection.name_filter import Excludes
from fer_core.decode.min_face import DEFAULT as DEFAULT_MIN_FACE
from fer_core.models.store import DEFAULT
from fer_core.run.configuration import MAX_BYTES, MAX_PIXELS, MOST_PIXELS
from flows.form_fields import (
    Address,
    ClusterField,
    LabellingParams,
    MinFaceField,
    PrecisionField,
    PriorField,
    RunId,
    WorkersField,
    ZoneField,
)
from tasks.clusters.base import ClusterBackend
from tasks.clusters.local import LocalCluster, processes
from tasks.execution.image_timeout import IMAGE_SECONDS

Pattern = Annotated[str, Field(min_length=1, max_length=4096)]


class LabelParams(LabellingParams):
    """One labelling run: source, pipeline, labels root."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)  # a refused address may hold a secret

    source: Address = Field(
        min_length=1,
        title="Source",
        description="Folder (with all below it), pattern, list file (.txt, .csv, .parquet) or s3:// prefix of photographs.",
        examples=["/data/photos", "s3://bucket/photos/", "/data/tonight.csv"],
    )
    to: Address = Field(min_length=1, title="Labels root", description="Folder or s3:// prefix for the tables. It grows with every run.")
    detector: Address = Field(
        "auto",
        title="Face detector",
        description="auto, builtin, yunet, yunet:FILE, scrfd:FILE or insightface:PACK. auto selects the best one available.",
        examples=["auto", "builtin", "yunet:/models/face_detection_yunet_2023mar.onnx"],
    )
    min_face: MinFaceField = DEFAULT_MIN_FACE
    max_megapixels: float = Field(
        MAX_PIXELS / 1e6,
        gt=0,
        le=MOST_PIXELS / 1e6,
        title="Most megapixels",
        description="Larger photographs are not decoded. A worker needs 13 bytes a pixel.",
    )
    max_bytes: int = Field(MAX_BYTES, ge=1, le=2**34, title="Most bytes of a photograph", description="Larger files are not read.")
    model: Address = Field(DEFAULT, min_length=1, title="Expression model", description="Name of a shipped model, or a model folder.")
    prior: PriorField = None
    precision: PrecisionField = None
    cluster: ClusterField = LocalCluster()
    workers: WorkersField = None
    shard_size: int | None = Field(
        None, ge=1, le=1_000_000, title="Images a shard", description="If empty, shards of half a minute, shorter ones towards the end."
    )
    image_timeout: float = Field(
        IMAGE_SECONDS,
        gt=0,
        le=86_400,
        title="Seconds an image",
        description="Longest time of one image. A worker that exceeds it is killed; an image that always exceeds it is quarantined.",
    )
    keep_crops: bool = Field(False, title="Keep aligned faces", description="Also write the aligned 112 x 112 faces: personal data.")
    purpose: str = Field("", max_length=500, title="Purpose", description="Why these faces are labelled. Kept with the run.")
    run_id: RunId | None = Field(None, title="Run id", description="Lower-case letters, digits, hyphens. Made from the time if empty.")
    resume: RunId | None = Field(None, title="Resume run", description="Id of an interrupted run to finish; the same source and options.")
    force: bool = Field(False, title="Label again", description="Read images again that an earlier run has labelled with this pipeline.")
    follow_links: bool = Field(
        False,
        title="Follow folder links",
        description="Also enter folder links that lead out of the source. File links are always read.",
    )
    exclude: tuple[Pattern, ...] = Field(
        (),
        title="Excluded names",
        description="Files and folders that are not listed: a name at any depth, such as private or *.png, or a path below the source.",
        examples=[["private", "2019/*/drafts"]],
    )
    no_default_excludes: bool = Field(
        False,
        title="List bins and thumbnails",
        description="Also list recycle bins and folders of thumbnails, such as @eaDir or .Trash-1000.",
    )
    column: str | None = Field(
        None, min_length=1, title="Column of a list", description="Name of the column with the images. If empty, one with a known name."
    )
    anonymous: bool = Field(
        False, title="Public bucket", description="Read photographs in S3 without credentials. The labels root is written with them."
    )
    max_list_rows: int = Field(
        LIMITS.rows, ge=1, title="Most rows of a list", description="A list file of more images is refused before it fills the memory."
    )
    max_list_bytes: int = Field(
        LIMITS.bytes, ge=1, title="Most bytes of a list", description="A list file is refused if it, or its names unpacked, are larger."
    )
    max_failed: float | None = Field(
        None,
        ge=0,
        le=100,
        title="Most quarantined, %",
        description="The run fails, after its commit, when a larger share of the listing is newly quarantined.",
    )
    quarantine_bound: float = Field(
        5.0,
        ge=0,
        le=100,
        title="Notify of quarantined, %",
        description="Emit fer.quarantine.exceeded when a larger share of the listing was newly quarantined.",
    )
    file_mode: Literal["owner", "group"] | None = Field(
        None,
        title="Who reads the files",
        description="owner, or group as well in a shared local root. If empty: as an existing root; owner only for a new one.",
    )
    timezone: ZoneField = None
    device: Literal["auto", "cpu", "cuda"] = Field("auto", title="Device", description="Where the network runs on the workers.")

    @property
    def max_pixels(self) -> int:
        """Of a photograph."""
        return max(1, round(self.max_megapixels * 1e6))

    @property
    def workers_wanted(self) -> ClusterBackend:
        """With limits above the usual ones, no more local processes than their memory allows where no number was asked for."""
        cluster = super().workers_wanted
        usual = self.max_bytes <= MAX_BYTES and self.max_pixels <= MAX_PIXELS
        if usual or not isinstance(cluster, LocalCluster) or cluster.processes is not None:
            return cluster
        return cluster.with_workers(processes(self.max_bytes, self.max_pixels))

    @property
    def source_options(self) -> SourceOptions:
        """How the source is listed."""
        limits = ListLimits(self.max_list_rows, self.max_list_bytes)
        return SourceOptions(self.follow_links, limits, self.column, self.anonymous, Excludes(self.exclude, not self.no_default_excludes))
