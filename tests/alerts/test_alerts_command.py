"""What `trueup alerts` refuses, and that its secrets are shown nowhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.support.receivers import Received
from trueup.cli import app

WRONG_USAGE, WRONG = 64, 2
SECRET = "secret-6d1e"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("TRUEUP_"):
            monkeypatch.delenv(name)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["alerts", *arguments])


@pytest.mark.parametrize("arguments", [("--once",), ("test",), ()])
def test_without_a_receiver_nothing_begins(arguments: tuple[str, ...], folder: Path) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (WRONG_USAGE, "")
    assert done.stderr.startswith(
        "TRUEUP_ALERTS_TO='' is not valid: there is nobody to alert: give"
    )
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TO", f"nothing://{SECRET}", "no service has this kind of URL: give URLs of Apprise"),
        ("TO", SECRET, "receiver 1 (no kind)"),
        ("TO", f"discord://{SECRET}", "this URL lacks a part that discord needs"),
        ("QUIET", "22-7", "give two different times of a day, such as 22:00-07:00"),
        ("ZONE", "Mars/Base", "give a zone of the IANA database, such as Europe/Berlin"),
        ("LEVEL", "loud", "give degraded, needs_person or halted"),
        ("AFTER_SEC", "-1", "give a number of seconds from 0 to 86400"),
        ("CALM_SEC", "soon", "give a number of seconds from 0 to 86400"),
        ("HEARTBEAT", f"ftp://{SECRET}", "give a URL that begins with https:// or http://"),
        ("HEARTBEAT_SEC", "0", "give a number of seconds from 1 to 86400"),
    ],
)
def test_a_wrong_setting_is_a_sentence_without_a_secret(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv("TRUEUP_ALERTS_TO", "json://127.0.0.1:1")
    monkeypatch.setenv(f"TRUEUP_ALERTS_{name}", value)
    done = run("--once")
    assert (done.exit_code, done.stdout) == (WRONG_USAGE, "")
    assert done.stderr.startswith(f"TRUEUP_ALERTS_{name}=")
    assert said in done.stderr
    assert SECRET not in done.stderr
    assert list(folder.iterdir()) == []


def test_a_name_that_is_misspelt_does_not_show_its_secret(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    (folder / "trueup.toml").write_text(f'trueup_alert_to = ["ntfys://{SECRET}"]\n', "utf-8")
    done = run("--once")
    assert done.exit_code == WRONG_USAGE
    assert "trueup_alert_to='***'" in done.stderr
    (folder / "trueup.toml").unlink()
    monkeypatch.setenv("TRUEUP_ALERTS_TOO", f"ntfys://{SECRET}")
    done = run("--once")
    assert "did you mean TRUEUP_ALERTS_TO?" in done.stderr
    assert SECRET not in done.stderr


def test_secrets_are_hidden_where_settings_are_shown(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    (folder / "trueup.toml").write_text(f'trueup_alerts_to = ["ntfys://{SECRET}", "x://y"]\n')
    monkeypatch.setenv("TRUEUP_ALERTS_HEARTBEAT", f"https://example.org/{SECRET}")
    for arguments in ((), ("--json",)):
        said = CliRunner().invoke(app, ["config", "show", *arguments]).stdout
        assert SECRET not in said
        assert said.count("***") == 2


def test_a_file_of_receivers_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUEUP_ALERTS_FILE", "missing")
    done = run("--once")
    # The file may be there later, so this is no wrong usage.
    assert (done.exit_code, done.stdout) == (WRONG, "")
    assert done.stderr.startswith("TRUEUP_ALERTS_FILE='missing' is not valid: it cannot be read, ")


@pytest.mark.skipif(sys.platform == "win32", reason="a folder of Windows has the permissions")
def test_a_file_of_receivers_that_others_can_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    (folder / "urls").write_text("json://127.0.0.1:1\n")
    (folder / "urls").chmod(0o644)
    monkeypatch.setenv("TRUEUP_ALERTS_FILE", "urls")
    done = run("test")
    assert done.exit_code == WRONG_USAGE
    assert done.stderr.startswith("TRUEUP_ALERTS_FILE='urls' is not valid: other users can read it")


def test_a_test_message_reaches_every_receiver_once_and_says_who_failed(
    phone: Received, mailbox: Received, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """From the setting and the file; the heartbeat is fetched as well."""
    (folder / "urls").write_text(f"# mine\n\n{mailbox.url}\n{phone.url}\n")
    (folder / "urls").chmod(0o600)
    monkeypatch.setenv("TRUEUP_ALERTS_TO", phone.url)
    monkeypatch.setenv("TRUEUP_ALERTS_FILE", "urls")
    monkeypatch.setenv("TRUEUP_ALERTS_HEARTBEAT", f"{phone.address}/beat/{SECRET}")
    done = run("test")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines() == [
        "receiver 1 (json): sent",
        "receiver 2 (mailto): sent",
        "heartbeat: sent",
    ]
    assert len(phone.messages) == len(mailbox.messages) == 1
    assert phone.fetched == [f"/beat/{SECRET}"]
    phone.status = 503
    done = run("test")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == "heartbeat: not sent: Service Unavailable"
    assert "receiver 1 (json): not sent: " in done.stderr
    assert SECRET not in done.output


def test_json_is_for_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUEUP_ALERTS_TO", "json://127.0.0.1:1")
    done = run("--json")
    assert (done.exit_code, done.stdout) == (WRONG_USAGE, "")
    assert done.stderr.startswith("--json is for --once;")


def test_without_the_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    monkeypatch.delitem(sys.modules, "trueup.doors.alerts.receivers", raising=False)
    done = run("test")
    assert (done.exit_code, done.stdout) == (WRONG, "")
    assert done.stderr == "Alerts need their extra: pip install 'trueup[alerts]'.\n"
