"""Promotion and rollback in a folder of models: one winner, nothing half, and a way back."""

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.errors import ModelError
from fer_core.models import registry as champion_module
from fer_core.models.registry import champion, promote, promotions, rollback, was_champion
from fer_core.models.store import CARD, DEFAULT, WEIGHTS, load_model, resolve_model
from tests.support.made_faces import small_model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Four models, as `ferflow train` leaves them."""
    folder = tmp_path_factory.mktemp("trained")
    return [small_model(folder / name, temperature=1.0 + number / 10) for number, name in enumerate(("a", "b", "c", "d"))]


def digests(models):
    return [one.digest for one in promotions(models)]


def test_before_any_promotion_the_shipped_model_labels(tmp_path):
    assert champion(tmp_path).digest == resolve_model(DEFAULT).digest
    assert promotions(tmp_path / "absent") == ()
    with pytest.raises(ModelError, match="nothing was promoted"):
        rollback(tmp_path, "none")


def test_a_promoted_model_is_kept_whatever_becomes_of_its_folder(tmp_path, trained):
    mine = small_model(tmp_path / "models" / "mine", temperature=2.0)
    models = tmp_path / "models"
    done = promote(models, mine, champion(models).digest, "better")
    assert (done.number, done.kind, done.reason, done.digest) == (1, "promote", "better", mine.digest)
    assert done.previous == resolve_model(DEFAULT).digest
    (mine.path / WEIGHTS).write_bytes(b"overwritten by the next training")
    assert champion(models).digest == mine.digest
    load_model(champion(models))
    assert resolve_model(str(models)).digest == mine.digest
    assert was_champion(models, mine.digest)
    assert not was_champion(models, trained[0].digest)


def test_a_folder_of_models_without_a_promotion_is_no_model(tmp_path):
    small_model(tmp_path / "models" / "mine")
    with pytest.raises(ModelError, match="unknown model"):
        resolve_model(str(tmp_path / "models"))


def test_whoever_judged_against_an_older_champion_is_refused(tmp_path, trained):
    one, two, *_ = trained
    start = champion(tmp_path).digest
    promote(tmp_path, one, start, "first")
    with pytest.raises(ModelError, match="another model was promoted in the meantime"):
        promote(tmp_path, two, start, "too late")
    assert digests(tmp_path) == [one.digest]


def test_promoting_the_champion_again_changes_nothing(tmp_path, trained):
    first = promote(tmp_path, trained[0], champion(tmp_path).digest, "once")
    assert promote(tmp_path, trained[0], trained[0].digest, "twice") == first
    assert len(promotions(tmp_path)) == 1


def test_each_rollback_goes_one_champion_back(tmp_path, trained):
    one, two, three, _ = trained
    for model in (one, two, three):
        promote(tmp_path, model, champion(tmp_path).digest, "up")
    back = [rollback(tmp_path, "down").digest for _ in range(3)]
    assert back == [two.digest, one.digest, resolve_model(DEFAULT).digest]
    with pytest.raises(ModelError, match="none before it"):
        rollback(tmp_path, "further")
    promote(tmp_path, three, champion(tmp_path).digest, "up again")
    assert rollback(tmp_path, "down").digest == resolve_model(DEFAULT).digest
    assert [one.kind for one in promotions(tmp_path)] == ["promote"] * 3 + ["rollback"] * 3 + ["promote", "rollback"]


@given(st.lists(st.sampled_from([0, 1, 2, 3, "back"]), max_size=12))
@settings(max_examples=20, deadline=None)
def test_promotions_and_rollbacks_are_a_stack(tmp_path_factory, trained, steps):
    models = tmp_path_factory.mktemp("models")
    shipped = resolve_model(DEFAULT).digest
    stack = [shipped]
    for step in steps:
        if step == "back":
            if len(stack) == 1:
                with pytest.raises(ModelError):
                    rollback(models, "down")
            else:
                stack.pop()
                rollback(models, "down")
        else:
            promote(models, trained[step], stack[-1], "up")
            if trained[step].digest != stack[-1]:
                stack.append(trained[step].digest)
        assert champion(models).digest == stack[-1]
    assert [one.number for one in promotions(models)] == list(range(1, len(promotions(models)) + 1))


def _try(models, model, start, barrier, answers):
    barrier.wait()
    try:
        answers.put(promote(models, model, start, str(model.path)).digest)
    except ModelError as error:
        answers.put(str(error))


def test_of_several_at_once_one_wins(tmp_path, trained):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "hypothesis", "cv2", "fer_core.training.train"])  # imported once, not in each
    barrier, answers = context.Barrier(4), context.Queue()
    start = champion(tmp_path).digest
    tries = [context.Process(target=_try, args=(tmp_path, model, start, barrier, answers)) for model in trained]
    for process in tries:
        process.start()
    said = [answers.get(timeout=280) for _ in tries]
    for process in tries:
        process.join(60)
    won = [answer for answer in said if not answer.startswith("another model was promoted")]
    assert won == digests(tmp_path)
    assert len(won) == 1
    assert list((tmp_path / "promotions").iterdir()) == [tmp_path / "promotions" / "000001.json"]


KILLED = """
import os, sys
from pathlib import Path
from fer_core.models import registry as champion
from fer_core.models.store import resolve_model

def die(*words):
    os.kill(os.getpid(), 9)

step, models, model = sys.argv[1:]
{"copy": lambda: setattr(champion.shutil, "copyfile", die),
 "rename": lambda: setattr(champion.Path, "rename", die),
 "link": lambda: setattr(champion.os, "link", die)}[step]()
champion.promote(Path(models), resolve_model(model), champion.champion(Path(models)).digest, "killed")
"""


@pytest.mark.parametrize("step", ["copy", "rename", "link"])
def test_killed_in_the_middle_nothing_has_changed_and_it_works_again(tmp_path, trained, step):
    one, two, *_ = trained
    promote(tmp_path, one, champion(tmp_path).digest, "before")
    words = [sys.executable, "-c", KILLED, step, str(tmp_path), str(two.path)]
    assert subprocess.run(words, check=False, cwd=Path(champion_module.__file__).parents[2]).returncode == -9
    assert champion(tmp_path).digest == one.digest
    load_model(champion(tmp_path))
    promote(tmp_path, two, one.digest, "again")
    assert champion(tmp_path).digest == two.digest
    load_model(champion(tmp_path))


def test_damaged_weights_are_not_promoted(tmp_path):
    mine = small_model(tmp_path / "mine")
    (mine.path / WEIGHTS).write_bytes(b"torn")
    with pytest.raises(ModelError, match="not the ones the card names"):
        promote(tmp_path / "models", mine, champion(tmp_path / "models").digest, "no")
    assert promotions(tmp_path / "models") == ()
    assert [entry.name for entry in (tmp_path / "models" / "promoted").iterdir()] == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"number": 1}', "moved up"])
def test_a_damaged_record_is_one_sentence(tmp_path, trained, text):
    promote(tmp_path, trained[0], champion(tmp_path).digest, "fine")
    file = tmp_path / "promotions" / "000001.json"
    if text == "moved up":
        file.write_text(json.dumps({**json.loads(file.read_text()), "path": "../elsewhere"}))
    else:
        file.write_text(text)
    with pytest.raises(ModelError, match="damaged record of a promotion") as caught:
        champion(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_kept_model_that_was_changed_is_noticed(tmp_path, trained):
    promote(tmp_path, trained[0], champion(tmp_path).digest, "fine")
    (card,) = (tmp_path / "promoted").glob(f"*/{CARD}")
    card.write_text(json.dumps({**json.loads(card.read_text()), "digest": "0" * 64}))
    with pytest.raises(ModelError, match="of another model"):
        champion(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path, trained):
    (tmp_path / "models").write_text("a file")
    with pytest.raises(ModelError, match="cannot"):
        promote(tmp_path / "models", trained[0], resolve_model(DEFAULT).digest, "no")
