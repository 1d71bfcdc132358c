"""From parameters to a run's configuration: names become digests. Does not import Prefect."""

import os
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from fer_core.collection.inventory import local_source
from fer_core.commit.publish import Plan, is_committed, read_plan
from fer_core.decode.min_face import DEFAULT as DEFAULT_MIN_FACE
from fer_core.errors import UsageError
from fer_core.models.registry import was_champion
from fer_core.models.store import portable_name, resolve_model
from fer_core.planning.time_zone import day, run_zone
from fer_core.run import TURNED, Answering, RunConfig
from fer_core.storage.store import open_store
from fer_core.storage.uri import OBJECT_STORES, scheme
from flows.form_fields import new_run_id
from flows.label_params import LabelParams
from flows.setup.answering import answering, check_answering


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
    from fer_core.detect.registry import build, resolve

    model = resolve_model(params.model)
    spec = resolve(params.detector)
    return Pipeline(spec, build(spec).identity, portable_name(params.model, model), model.name, answering(params, model))


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
        min_face=params.min_face,
        turned=TURNED,
        purpose=params.purpose,
        keep_crops=params.keep_crops,
        shard_size=params.shard_size or 0,
        device=params.device,
        anonymous=params.anonymous,
        started_us=int(now.timestamp() * 1e6),
    )


def check_apart(source: str, root: str) -> None:
    """UsageError where the root is inside the collection, also through links: the next run would list its tables as pictures."""
    if scheme(source) == "file" and scheme(root) == "file":
        folder, target = os.path.realpath(local_source(source)), os.path.realpath(open_store(root).url())
        inside = os.path.isdir(folder) and os.path.commonpath([folder, target]) == folder
    else:
        inside = f"{root.rstrip('/')}/".startswith(f"{source.rstrip('/')}/") and scheme(root) in OBJECT_STORES
    if inside:
        raise UsageError(f"the labels root {root} lies inside the source {source}: choose a place outside of it")


def load_resumable_plan(params: LabelParams) -> Plan:
    """The plan of the run to be resumed, its root where it is now: the folder may have been moved since.

    CommitError when it is unknown, UsageError when it was started with other parameters.
    """
    assert params.resume is not None
    store = open_store(params.to)
    plan = read_plan(store, params.resume)
    plan = replace(plan, config=replace(plan.config, root=store.url()))
    config = plan.config
    if config.source != params.source:
        raise UsageError(f"run {params.resume} labels {config.source}, not {params.source}: resume it with the same source and options")
    if is_committed(open_store(params.to), params.resume):
        return plan
    if params.model != config.model and not _same_model(params.model, config.model_digest):
        raise UsageError(f"run {params.resume} was started with model {config.model_name}: resume it with the same options")
    check_answering(params, config)
    if params.min_face not in {DEFAULT_MIN_FACE, config.min_face}:
        begun = f"{config.min_face_px:g} by the rule of an earlier release" if config.min_face is None else config.min_face
        raise UsageError(f"run {params.resume} was started with a smallest face of {begun}: resume it with the same options")
    if params.detector != "auto" and pipeline(params).detector_identity != config.detector_identity:
        raise UsageError(f"run {params.resume} was started with detector {config.detector}: resume it with the same options")
    return plan


def _same_model(model: str, digest: str) -> bool:
    """Whether a run with that digest may be resumed: also where another champion was promoted since it began."""
    return resolve_model(model).digest == digest or was_champion(Path(model).expanduser(), digest)
