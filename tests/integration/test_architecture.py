"""docs/explanation/architecture.md: its picture has the folders that there are, and its walk is the way that an image goes."""

import re
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from skimage import data, io

from fer_core.collection.inventory import SourceOptions, collect
from fer_core.commit.lease import lease
from fer_core.commit.plan import write_plan
from fer_core.commit.publish import publish, unfinished_shards
from fer_core.pipeline.shard import label_shard
from fer_core.pipeline.shard_jobs import jobs
from fer_core.pipeline.worker_models import load_worker_models
from fer_core.planning.draft import draft
from fer_core.storage.store import open_store
from flows.label_params import LabelParams
from flows.setup.label import configure

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "explanation" / "architecture.md").read_text("utf-8")
WALK = re.findall(r"^\| \d+ \| `([\w/.]+)` \|", PAGE, re.MULTILINE)
PACKAGES = ("flows", "tasks", "fer_core")
BACK = {"commit", "storage"}
"""Folders that an image enters again and again."""
TWICE = {"fer_core/tables/parquet_writer.py"}
"""As the page says."""


def folders() -> set[str]:
    found = {file.parent.relative_to(REPOSITORY).as_posix() for name in PACKAGES for file in (REPOSITORY / name).rglob("__init__.py")}
    return found - set(PACKAGES)


def drawn() -> set[str]:
    """Boxes of the picture, each with the package that it is in."""
    block = re.search(r"```mermaid\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    package, found = "", set()
    for line in block[1].splitlines():
        begun = re.match(r" *subgraph (\w+)", line)
        package = begun[1] if begun and begun[1] in PACKAGES else package
        found |= {f"{package}/{label}" for label in re.findall(r'\b\w+\["([^"]+)"\]', line) if not begun}
    return found


def test_the_picture_has_the_folders_that_there_are():
    assert drawn() == folders()


def test_every_file_that_the_page_names_is_there():
    named = set(re.findall(r"`([\w/.]+\.(?:py|toml|md))`", PAGE))
    assert named >= set(WALK)
    assert [name for name in sorted(named) if not ((REPOSITORY / name).is_file() or name == "__init__.py")] == []


def test_the_walk_is_short_and_enters_no_file_twice():
    assert 10 < len(WALK) <= 25
    assert len(set(WALK)) == len(WALK)


class Entered(NamedTuple):
    """A function of a folder of fer_core was called."""

    stage: str
    file: str


@pytest.fixture(scope="module")
def entered(tmp_path_factory) -> list[Entered]:
    """What runs in a night over one picture, in order. Constructors are left out: they prepare what the image reaches later."""
    folder, root = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("labels")
    io.imsave(folder / "astronaut.png", data.astronaut(), check_contrast=False)
    run = configure(LabelParams(source=str(folder), to=str(root), run_id="walk", detector="builtin"))
    load_worker_models(run)  # once a process, not once an image
    stage, found, both = [""], list[Entered](), threading.Lock()

    def note(frame, event, _):
        if event != "call":
            return
        code = frame.f_code
        path = Path(code.co_filename)
        if "fer_core" in path.parts and path.is_relative_to(REPOSITORY) and not code.co_name.startswith(("__", "<")):
            file = path.relative_to(REPOSITORY).as_posix()
            if file.count("/") > 1:
                with both:
                    found.append(Entered(stage[0], file))

    store = open_store(run.root)
    with lease(store, "walk") as held:
        before = sys.getprofile(), threading.getprofile()
        threading.setprofile(note)
        sys.setprofile(note)
        try:
            stage[0] = "inventory"
            inventory = collect(str(folder), SourceOptions())
            stage[0] = "plan"
            drawn_up = draft(store, run, inventory.images, workers=1, force=False)
            plan = write_plan(store, drawn_up)
            stage[0] = "label"
            receipts = [label_shard(job) for job in jobs(plan.config, plan.images, unfinished_shards(plan, {}))]
            stage[0] = "commit"
            publish(store, plan.config, receipts, assert_lease=held.check)
        finally:
            sys.setprofile(before[0])
            threading.setprofile(before[1])
    assert [receipt.faces for receipt in receipts] == [1]
    return found


def test_an_image_walks_as_the_page_says(entered):
    order = [file for file in dict.fromkeys(one.file for one in entered) if file in WALK and file.split("/")[1] not in BACK]
    # the plan is a Parquet file too
    order = [file for file in order if file not in TWICE]
    assert order == [file for file in WALK if file.split("/")[1] not in BACK | {"storage"} and file not in TWICE]


def test_no_file_runs_that_the_page_does_not_name(entered):
    files = {one.file for one in entered}
    assert set(WALK) <= files
    assert sorted(file for file in files if file not in PAGE and file.split("/")[1] not in BACK) == []


def test_no_file_is_entered_for_a_second_stage(entered):
    stages: dict[str, set[str]] = {}
    for one in entered:
        stages.setdefault(one.file, set()).add(one.stage)
    again = {file for file in WALK if len(stages[file]) > 1 and file.split("/")[1] not in BACK}
    assert again == TWICE
