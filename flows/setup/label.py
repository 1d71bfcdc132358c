"""From parameters to a run's configuration: names become digests. Does not import Prefect."""

import os
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from fer_core.collection.inventory import local_source
from fer_core.collection.name_filter import MAGIC, fixed_part, reaches_below
from fer_core.commit.plan import Plan, read_plan
from fer_core.commit.policy import read_policy
from fer_core.commit.publish import committed_runs, is_committed
from fer_core.decode.extras import installed_decoders
from fer_core.decode.min_face import DEFAULT as DEFAULT_MIN_FACE
from fer_core.decode.min_face import MinFace
from fer_core.errors import UsageError
from fer_core.models.registry import was_champion
from fer_core.models.store import portable_name, resolve_model
from fer_core.planning.time_zone import day, run_zone
from fer_core.run.configuration import LUMA, MAX_BYTES, MAX_PIXELS, TURNED, Answering, RunConfig
from fer_core.storage.output_place import partition_above, refuse_in_tables
from fer_core.storage.store import open_store
from fer_core.storage.uri import OBJECT_STORES, scheme
from flows.form_fields import new_run_id
from flows.label_params import LabelParams
from flows.setup.answering import answering, check_answering
from flows.setup.known_source import is_same_folder


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Detector and model, by name and by identity."""

    detector: str
    """Resolved spec."""
    detector_identity: str
    model: str
    model_name: str
    answering: Answering


def pipeline(params: LabelParams) -> Pipeline:
    """DetectorError or ModelError when something is unknown, absent or damaged."""
    from fer_core.detect.registry import identity, resolve

    model = resolve_model(params.model)
    spec = resolve(params.detector)
    return Pipeline(spec, identity(spec), portable_name(params.model, model), model.name, answering(params, model))


def configure(params: LabelParams, now: datetime | None = None) -> RunConfig:
    """The configuration of a new run that is planned now, at an aware time. A shard size of 0 is chosen when the images are known.

    UsageError, DetectorError or ModelError where the root is inside the source, or something is unknown, absent or damaged.
    """
    check_apart(params.source, params.to)
    now, timezone = now or datetime.now(UTC), run_zone(params.timezone)
    chosen = pipeline(params)
    return RunConfig(
        run_id=params.run_id or new_run_id(now),
        run_date=day(now, timezone),
        timezone=timezone,
        source=params.source,
        root=open_store(params.to).url(),
        detector=chosen.detector,
        detector_identity=chosen.detector_identity,
        model=chosen.model,
        model_name=chosen.model_name,
        **asdict(chosen.answering),
        max_bytes=params.max_bytes,
        max_pixels=params.max_pixels,
        decoders=installed_decoders(),
        min_face=params.min_face,
        finest_px=MinFace.parse(params.min_face).finest_px,
        turned=TURNED,
        second_decode=LUMA,
        purpose=params.purpose,
        keep_crops=params.keep_crops,
        shard_size=params.shard_size or 0,
        device=params.device,
        anonymous=params.anonymous,
        started_us=int(now.timestamp() * 1e6),
    )


def check_apart(source: str, root: str) -> None:
    """UsageError where the root is inside the collection, also through links, or where a pattern reaches: the next run would list its
    tables as pictures. Also where readers would not find its tables, see `check_place`."""
    check_place(root)
    if scheme(source) == "file" and scheme(root) == "file":
        path, target = local_source(source), os.path.realpath(open_store(root).url())
        is_pattern = not os.path.lexists(path) and not MAGIC.isdisjoint(path)
        folder = os.path.realpath(fixed_part(path) or "/" if is_pattern else path)
        inside = os.path.isdir(folder) and os.path.commonpath([folder, target]) == folder
    else:
        path, target, is_pattern = source, root, not MAGIC.isdisjoint(source)
        folder = fixed_part(source) if is_pattern else source
        inside = f"{root.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/") and scheme(root) in OBJECT_STORES
    if inside and is_pattern:
        inside = reaches_below(_names(target[len(folder.rstrip("/")) :]), _names(path[len(fixed_part(path)) :]))
    if inside:
        raise UsageError(f"the labels root {root} lies inside the source {source}: choose a place outside of it")


def check_place(root: str) -> None:
    """UsageError where a labels root is in the tables of another one, or below a folder `run=...` or `run_date=...` that readers take for
    a partition, unless it was there before."""
    refuse_in_tables(root)
    store = open_store(root)
    partition = partition_above(store)
    if partition is not None and not committed_runs(store):
        raise UsageError(f"the labels root {root} lies below {partition}, which readers take for a partition: choose a place outside of it")


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name]


def load_resumable_plan(params: LabelParams) -> Plan:
    """The plan of the run to be resumed, its root where it is now: the folder may have been moved since.

    CommitError when it is unknown, UsageError when it was started with other parameters.
    """
    assert params.resume is not None
    store = open_store(params.to)
    plan = read_plan(store, params.resume)
    plan = replace(plan, config=replace(plan.config, root=store.url()))
    config = plan.config
    if config.source != params.source and not is_same_folder(config.source, params.source):
        raise UsageError(f"run {params.resume} labels {config.source}, not {params.source}: resume it with the same source and options")
    if is_committed(open_store(params.to), params.resume):
        return plan
    read_policy(store).check(config.purpose, keep_crops=config.keep_crops)
    if params.model != config.model and not _same_model(params.model, config.model_digest):
        raise UsageError(f"run {params.resume} was started with model {config.model_name}: resume it with the same options")
    check_answering(params, config)
    if params.min_face not in {DEFAULT_MIN_FACE, config.min_face}:
        begun = f"{config.min_face_px:g} by the rule of an earlier release" if config.min_face is None else config.min_face
        raise UsageError(f"run {params.resume} was started with a smallest face of {begun}: resume it with the same options")
    for asked, usual, kept, what in (
        (params.max_bytes, MAX_BYTES, config.max_bytes, "bytes"),
        (params.max_pixels, MAX_PIXELS, config.max_pixels, "pixels"),
    ):
        if asked not in {usual, kept}:
            raise UsageError(f"run {params.resume} was started with at most {kept:,} {what} an image: resume it with the same options")
    if params.detector != "auto" and pipeline(params).detector_identity != config.detector_identity:
        raise UsageError(f"run {params.resume} was started with detector {config.detector}: resume it with the same options")
    return plan


def _same_model(model: str, digest: str) -> bool:
    """Whether a run with that digest may be resumed: also where another champion was promoted since it began."""
    return resolve_model(model).digest == digest or was_champion(Path(model).expanduser(), digest)
