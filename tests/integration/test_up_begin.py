"""What `ferflow up` refuses at once, and the lock and port that it needs for itself."""

import io
import os
import socket

import pytest

from fer_core.errors import SourceError, UsageError
from fer_core.models.registry import promotions
from fer_core.planning.time_zone import zone
from flows.server.prefect_process import close_home, lock_in_home
from flows.server.up_setup import given_address, validated_options
from tests.support.modes import modes_below


def test_paths_become_absolute(two_pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(two_pictures.parent)
    monkeypatch.setenv("HOME", str(tmp_path))
    options = validated_options(two_pictures.name, "~/labels", None, "Asia/Tokyo")
    assert options == {
        "source": str(two_pictures),
        "to": str(tmp_path / "labels"),
        "models": None,
        "timezone": "Asia/Tokyo",
        "notify": None,
    }


def test_a_folder_of_models_gets_a_first_champion_once(tmp_path):
    for _ in range(2):
        validated_options(None, None, str(tmp_path / "models"), "UTC")
    (first,) = promotions(tmp_path / "models")
    assert first.name == "tiny"


def test_what_no_night_could_work_with_is_refused(two_pictures, tmp_path):
    with pytest.raises(SourceError):
        validated_options(str(tmp_path / "absent"), str(tmp_path / "labels"), None, "UTC")
    with pytest.raises(UsageError, match="lies inside the source"):
        validated_options(str(two_pictures), str(two_pictures / "labels"), None, "UTC")
    with pytest.raises(UsageError, match="credentials"):
        validated_options("s3://key:secret@bucket", str(tmp_path / "labels"), None, "UTC")
    with pytest.raises(UsageError, match="Europe/Atlantis"):
        validated_options(None, None, None, "Europe/Atlantis")


@pytest.mark.parametrize("address", ["ftp://there/T0PSECRET", "https://", "T0PSECRET", "http://[T0PSECRET", "a/b/T0PSECRET", "/T0PSECRET"])
def test_what_tells_nobody_is_refused_without_repeating_it(address):
    with pytest.raises(UsageError, match="--notify takes") as refused:
        validated_options(None, None, None, "UTC", address)
    assert "T0PSECRET" not in str(refused.value)


@pytest.mark.parametrize("address", ["http://127.0.0.1:8080/hook", "https://hooks.example/services/a/b?c=d", "slack-webhook/team"])
def test_who_can_be_told(address):
    assert validated_options(None, None, None, "UTC", address)["notify"] == address


def test_an_address_need_not_stand_on_the_command_line(tmp_path, monkeypatch, capsys):
    secret = "https://hooks.example/T0PSECRET"
    (tmp_path / "file").write_text(f"{secret}\n")
    assert given_address(f"@{tmp_path}/file") == secret
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{secret}\nmore"))
    assert given_address("-") == secret
    monkeypatch.setenv("FERFLOW_NOTIFY", secret)
    assert given_address("slack-webhook/team") == "slack-webhook/team"
    assert "FERFLOW_NOTIFY" not in os.environ  # of no process that is started from here
    monkeypatch.setenv("FERFLOW_NOTIFY", secret)
    assert given_address(None) == secret
    assert given_address(None) is None
    assert capsys.readouterr().err == ""
    assert given_address(secret) == secret
    assert capsys.readouterr().err == (
        "note: every user of this machine can read an address on a command line: --notify @FILE, - or $FERFLOW_NOTIFY\n"
    )


@pytest.mark.parametrize(
    ("given", "why"), [("@{}/absent", "No such file"), ("@{}/bytes", "it is no text"), ("@{}/empty", "--notify takes")]
)
def test_a_file_without_an_address_is_refused(given, why, tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(UsageError, match=why):
        given_address(given.format(tmp_path))


def test_prefects_home_is_closed_also_where_it_was_open(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o755)
    for name, mode in (("prefect.db", 0o644), ("prefect.db-wal", 0o644), ("ferflow-up.lock", 0o664), ("profiles.toml", 0o640)):
        (home / name).touch()
        (home / name).chmod(mode)
    monkeypatch.setenv("PREFECT_HOME", str(home))
    before = os.umask(0o077)
    try:
        lock_in_home("ferflow-start.lock").close()
    finally:
        os.umask(before)
    assert {path: mode for path, mode in modes_below(home).items() if path != "profiles.toml"} == {
        "": 0o700,
        "prefect.db": 0o600,
        "prefect.db-wal": 0o600,
        "ferflow-up.lock": 0o600,
        "ferflow-start.lock": 0o600,
    }
    home.chmod(0o1777)  # as /tmp: others need it, too
    close_home(home)
    assert home.stat().st_mode & 0o7777 == 0o1777


def test_the_zone_is_the_machines_where_none_is_given(monkeypatch):
    monkeypatch.setenv("TZ", ":America/Lima")
    assert zone(None) == "America/Lima"
    monkeypatch.delenv("TZ")
    assert zone(None)


def test_a_port_that_is_taken_is_told_in_one_line(commands):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = commands.run("up", "--port", port)
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert f"cannot serve on 127.0.0.1 port {port}" in ended.line


def test_the_password_is_shown_once_and_to_a_person(monkeypatch, tmp_path):
    from flows.cli.up import _way_in
    from flows.server.password import Password

    def said(terminal, **changed):
        monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
        given = {"text": "ferflow:T0PSECRET", "file": tmp_path / "kept", "is_new": True}
        return " ".join(_way_in("http://127.0.0.1:4200", Password(**{**given, **changed})))

    assert "http://127.0.0.1:4200/ferflow-login#ferflow%3AT0PSECRET" in said(True)
    for shown in (said(True, is_new=False), said(False), said(True, file=None)):
        assert "T0PSECRET" not in shown
    assert str(tmp_path / "kept") in said(False)
    assert _way_in("http://127.0.0.1:4200", None) == []
