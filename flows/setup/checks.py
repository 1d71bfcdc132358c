"""Checks before anything slow starts: the source exists, the root can be written, the scheduler answers.

This module imports neither Prefect nor Dask.
"""

import os
from typing import TypeVar

from pydantic import ValidationError

from fer_core.collection.inventory import OPTIONS, SourceOptions, list_images, local_source, quick_count
from fer_core.collection.local_listing import FolderLinks, walk
from fer_core.collection.name_filter import NameFilter
from fer_core.commit.lease import refuse_concurrent_writer
from fer_core.commit.policy import read_policy
from fer_core.commit.publish import is_committed
from fer_core.errors import CommitError, UsageError
from fer_core.storage.file_mode import BY_NAME
from fer_core.storage.paths import plan_file
from fer_core.storage.store import Store, open_store
from fer_core.storage.system_files import is_system_file
from fer_core.storage.uri import S3, holds_credentials, scheme
from flows.form_fields import LabellingParams
from flows.label_params import LabelParams
from flows.setup.label import check_apart, load_resumable_plan, pipeline
from tasks.clusters.text_syntax import validation_message

P = TypeVar("P", bound=LabellingParams)


def parse_params(form: type[P], values: dict[str, object]) -> P:
    """UsageError in one line for invalid parameters."""
    try:
        return form.model_validate(values)
    except ValidationError as error:
        raise UsageError(_refusal(error).replace("--source", "SOURCE").replace("--root", "ROOT")) from error


def _refusal(error: ValidationError) -> str:
    """The error in one line, after its option."""
    reason, first = validation_message(error), error.errors()[0]
    if not first["loc"]:
        return reason
    option, found = str(first["loc"][0]), str(first["input"])
    inside = len(first["loc"]) > 1 or "credentials" in reason
    tellable = isinstance(first["input"], str | int | float) and "@" not in found and not holds_credentials(found)  # not on the screen
    shown = f" ({first['input']!r})" if tellable and not inside and option != "cluster" else ""
    return f"--{option.replace('_', '-')} {reason.removeprefix(option).removeprefix('.').removeprefix(': ')}{shown}"


def check_label(params: LabelParams) -> int:
    """Raise the error a run would end with, where that is known by now. Returns how many images there are, or enough of
    them to keep every worker busy."""
    cluster, store = params.workers_wanted, open_store(params.to)
    if params.resume is not None:
        plan = load_resumable_plan(params)
        images: int = plan.images.num_rows
    else:
        read_policy(store).check(params.purpose, keep_crops=params.keep_crops)
        images = images_at_least(params.source, cluster.max_concurrency() * (params.shard_size or 1000), params.source_options)
        check_apart(params.source, params.to)
        check_id(store, params.run_id)
        pipeline(params)
    store.settle(BY_NAME.get(params.file_mode or ""))
    check_start(store, params)
    return images


def check_id(store: Store, run_id: str | None) -> None:
    """CommitError when there is a run of that id."""
    if run_id is not None and store.exists(plan_file(run_id)):
        done = "is committed: choose" if is_committed(store, run_id) else "was started before: resume it, or choose"
        raise CommitError(f"run {run_id} {done} another id")


def check_start(store: Store, params: LabellingParams) -> None:
    """The root can be written, no other run writes to it, and there is such a cluster."""
    store.check_writable()
    if params.resume is None or not is_committed(store, params.resume):
        refuse_concurrent_writer(store)
    params.workers_wanted.check()


def images_at_least(source: str, enough: int, options: SourceOptions = OPTIONS) -> int:
    """Images in the source, counted up to `enough` where that is quick. SourceError when it is absent or empty.

    Object stores are listed once, by the run itself; of S3 the first page is read here, so that errors appear before anything starts.
    """
    if scheme(source) in S3:
        found = quick_count(source, options.anonymous, options.excludes)
        return enough if found is None else found
    if scheme(source) != "file":
        return enough
    path = local_source(source)
    if os.path.isdir(path) and not is_system_file(path, os.stat(path)):
        count, links = 0, FolderLinks(options.follow_links, NameFilter(path, options.excludes))
        for count, _ in enumerate(walk(path.rstrip("/") or "/", links), start=1):
            if count >= enough:
                break
        if count:
            return count
    return int(list_images(source, options).num_rows)
