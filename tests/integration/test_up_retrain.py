"""A retraining from its form in a real browser: changed parameters, watched to its end, its artifact opened."""

import pytest

from fer_core.models.registry import champion, promote
from tests.support import form_in_browser
from tests.support.made_faces import made_faceset, small_model
from tests.support.served import up

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        not form_in_browser.present(), reason="no chromium with its chromedriver (Debian: apt-get install chromium chromium-driver)"
    ),
]


@pytest.fixture(scope="module")
def retrained(tmp_path_factory):
    """What the browser showed, the run as the server knows it, and the folder."""
    from tests.support.processes import Commands

    folder = tmp_path_factory.mktemp("retrain")
    (folder / "home").mkdir()
    made_faceset(folder / "faces", {"train": 240, "valid": 160, "test": 160})
    models = folder / "models"
    promote(models, small_model(folder / "first"), champion(models).digest, "an untrained one to begin with")
    with up(Commands(folder / "home"), folder, "--models", "models", "--timezone", "UTC", "--no-password") as served:
        deployment = served.deployment("retrain/weekly")
        seen = form_in_browser.retrain(served.url, served.password, deployment["id"], str(folder / "faces"), folder / "browser")
        run = served.finished(seen.run)
    assert served.said["password_file"] is None
    assert "every user of this machine" in "".join(served.errors)
    return seen, run, folder


def test_the_form_refuses_no_epochs(retrained):
    assert retrained[0].said_of_nought_epochs  # in the browser's language


def test_the_run_had_what_the_form_said(retrained):
    _, run, folder = retrained
    given = run["parameters"]["params"]
    assert (given["facesets"], given["epochs"], given["batch"], given["learning_rate"]) == ([str(folder / "faces")], 3, 32, 0.1)
    assert run["state_type"] == "COMPLETED", run["state"]


def test_the_artifact_shows_both_models(retrained):
    seen, _, folder = retrained
    newest = champion(folder / "models")
    for words in ("champion", "challenger", newest.name):
        assert words in seen.artifact
    assert (folder / "browser" / "run.png").stat().st_size > 10_000


def test_the_pages_ask_nobody_else(retrained):
    assert retrained[0].asked == []
