"""The password of the API: made once, kept for its owner, handed on in environments; and what other users get without it."""

import fcntl
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fer_core.errors import OrchestrationError
from flows.server.password import FILE, THEIRS, password_of_running_server, stored_password
from flows.server.prefect_process import LOCK, lock_in_home
from tests.support.orchestrator import with_database
from tests.support.processes import REPOSITORY, Commands

URL = "http://127.0.0.1:4200"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv(THEIRS, raising=False)
    return tmp_path


def mode(file):
    return stat.S_IMODE(file.stat().st_mode)


def test_it_is_made_once_and_for_its_owner_alone(home):
    os.umask(before := os.umask(0))
    os.umask(0)
    try:
        first = stored_password()
    finally:
        os.umask(before)
    assert first.is_new
    assert mode(home / FILE) == 0o600
    assert len(first.text) > 40
    assert first.text not in repr(first)
    (home / FILE).chmod(0o644)
    second = stored_password()
    assert (second.text, second.is_new, second.file) == (first.text, False, home / FILE)
    assert mode(home / FILE) == 0o600
    (home / FILE).unlink()
    assert stored_password().text != first.text


@pytest.mark.parametrize("left", ["", "ferflow:half", "no colon\n"])
def test_one_that_was_not_written_to_its_end_is_replaced(home, left):
    (home / FILE).write_text(left)
    assert stored_password().is_new
    assert not stored_password().is_new


def test_a_link_is_not_followed(home):
    (home / "elsewhere").write_text("a:b\n")
    (home / FILE).symlink_to("elsewhere")
    with pytest.raises(OrchestrationError, match=f"cannot be kept in {home / FILE}"):
        stored_password()


def test_the_environment_may_give_it(home, monkeypatch):
    monkeypatch.setenv(THEIRS, "me:mine")
    assert (stored_password().text, stored_password().file) == ("me:mine", None)
    assert not (home / FILE).exists()


def test_commands_show_it_to_the_up_that_runs_and_to_nothing_else(home):
    password = stored_password().text
    with (home / LOCK).open("wb") as lock:
        lock.write(URL.encode())
        lock.flush()
        assert password_of_running_server(f"{URL}/api", LOCK) is None, "another server answers there now"
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert password_of_running_server(f"{URL}/api", LOCK) == password
        assert password_of_running_server(f"{URL}/api/", LOCK) == password
        for other in ("http://127.0.0.1:4201/api", "http://evil.example/api", "https://127.0.0.1:4200/api"):
            assert password_of_running_server(other, LOCK) is None
    assert password_of_running_server(f"{URL}/api", "no such file") is None


def test_no_other_user_can_hold_a_lock(home):
    (home / LOCK).touch(0o644)
    for name in (LOCK, "another"):
        with lock_in_home(name) as lock:
            assert Path(lock.name) == home / name
            assert mode(home / name) == 0o600


INSIDE = """
import json, os, sys
from flows.server.prefect_api import prefect_api
with prefect_api() as api, api.ready():
    from prefect.client.orchestration import get_client
    sys.path.insert(0, sys.argv[1])
    from tests.support.other_user import ask
    with get_client(sync_client=True) as client:
        ours = client.api_healthcheck() is None and len(client.read_flows())
    said = ask(api.url) if os.geteuid() == 0 else None
    print(json.dumps({"ours": ours, "said": said, "password": os.environ["PREFECT_API_AUTH_STRING"]}))
assert "PREFECT_API_AUTH_STRING" not in os.environ
"""


@pytest.fixture(scope="module")
def temporary(tmp_path_factory, prefect_database):
    """The API that commands bring with them, in use."""
    commands = Commands(with_database(tmp_path_factory.mktemp("temporary") / "home", prefect_database))
    words = [sys.executable, "-c", INSIDE, str(REPOSITORY)]
    done = subprocess.run(words, env=commands.environment(), capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_command_uses_the_api_that_it_brings(temporary):
    assert temporary["ours"] == 0


def refused(said, password):
    """Whether another user could do nothing, and see the password nowhere."""
    assert set(said["statuses"].values()) == {401}, said["statuses"]
    assert "open" not in said["lines"].values(), said["lines"]
    assert said["environments"] == []
    assert said["arguments"]
    assert not [words for words in said["arguments"] if password in words]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_other_users_cannot_use_it(temporary):
    refused(temporary["said"], temporary["password"])
