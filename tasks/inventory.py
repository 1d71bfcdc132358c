"""Task `inventory`: lists the source."""

from collections.abc import Mapping
from typing import Final

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from fer_core.collection.inventory import Collection, SourceOptions, collect
from fer_core.text import visible
from tasks.execution.progress import counted, stage, warn
from tasks.task_log import log_found

NAMED: Final = 3
"""Folders that a warning names."""


@task(name="inventory", cache_policy=NO_CACHE, persist_result=False)
def list_inventory(source: str, options: SourceOptions) -> Collection:
    """List the source. SourceError when it is empty. One warning names folders that were not entered."""
    found = collect(source, options, on_listed=lambda count: stage(counted("listed images", count, None)))
    excluded = len(found.left_out) + found.names.excluded
    log_found(f"listed {found.images.num_rows:,} images, excluded {excluded:,} folders{ignored_text(found.names.ignored)}")
    if found.left_out:
        sentence = left_out_sentence(found.left_out)
        get_run_logger().warning("%s", sentence)
        warn(sentence)
    return found


def ignored_text(ignored: Mapping[str, int]) -> str:
    """`, ignored 12 sidecar, 8 video`, the most frequent kind first; empty where nothing was ignored."""
    told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(ignored.items(), key=lambda item: (-item[1], item[0])))
    return f", ignored {told}" if told else ""


def left_out_sentence(folders: tuple[str, ...]) -> str:
    """Warning with the folders that were not entered, and the reason."""
    named = ", ".join(visible(folder) for folder in folders[:NAMED])
    more = f" and {len(folders) - NAMED:,} more" if len(folders) > NAMED else ""
    why = "links that lead out of the source are entered with --follow-links, /proc, /sys and /dev never"
    return f"{len(folders):,} not entered: {named}{more} ({why})"
