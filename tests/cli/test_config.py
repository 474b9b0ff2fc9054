"""`trueup config`: where each setting comes from, and a first file; no secret is printed."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.support.posix_limits import posix_only
from trueup.cli import app
from trueup.settings import Settings, limits_setting, load_settings

URL = "postgresql://bot:s3cret@db.example/trueup"
KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.lower() in Settings.model_fields:
            monkeypatch.delenv(name)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["config", *arguments])


def rows() -> dict[str, dict[str, Any]]:
    document = json.loads(run("show", "--json").stdout)
    assert document["schema"] == "trueup/config-show/1"
    return {row["name"]: row for row in document["settings"]}


def test_every_setting_is_shown_with_the_place_that_wins(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "trueup.toml").write_text(
        "gtw_port = 7000\ntrueup_magic = 7\ntrueup_symbols = ['EURUSD', 'GBPUSD']\n", "utf-8"
    )
    (folder / ".env").write_text("GTW_PORT=6000\nOTHER=1\nTRUEUP_SIMULATED=1\n", "utf-8")
    monkeypatch.setenv("GTW_PORT", "5000")
    monkeypatch.setenv("TRUEUP_VOLUME", "")
    found = rows()
    assert list(found) == [name.upper() for name in Settings.model_fields]
    assert found["GTW_PORT"] == {
        "name": "GTW_PORT",
        "value": "5000",
        "source": "environment",
        "over": [".env", "trueup.toml"],
    }
    told = {name: (row["value"], row["source"]) for name, row in found.items()}
    assert told["TRUEUP_SIMULATED"] == ("1", ".env")
    assert told["TRUEUP_SYMBOLS"] == ("EURUSD,GBPUSD", "trueup.toml")
    # An empty variable is not set.
    assert told["TRUEUP_VOLUME"] == ("0.01", "default")
    assert told["TRUEUP_ACCOUNT"] == ("", "default")
    text = run("show").stdout
    assert "GTW_PORT" in text
    assert "environment (over .env, trueup.toml)" in text
    assert max(map(len, text.splitlines())) <= 80


def test_passwords_and_keys_are_hidden_and_paths_are_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUEUP_JOURNAL", URL)
    monkeypatch.setenv("GTW_SERVER_KEY", KEY)
    monkeypatch.setenv("GTW_KEY_FILE", "bot.key_secret")
    for done in (run("show"), run("show", "--json")):
        assert "s3cret" not in done.output
        assert KEY not in done.output
        assert "postgresql://bot:***@db.example/trueup" in done.stdout
        assert "bot.key_secret" in done.stdout
    assert rows()["GTW_SERVER_KEY"]["value"] == "***"
    monkeypatch.setenv("GTW_SERVER_KEY", "keys/gateway.key")
    assert rows()["GTW_SERVER_KEY"]["value"] == "keys/gateway.key"


def test_the_limits_are_shown_as_far_as_they_are_set(folder: Path) -> None:
    assert "Limits: -" in run("show").stdout
    (folder / "trueup.toml").write_text(
        "[limits]\nlots = 2.0\nhours = { mon = '08:00-12:00' }\n", "utf-8"
    )
    assert "lots 2.0, hours {'mon': '08:00-12:00'}" in run("show").stdout
    document = json.loads(run("show", "--json").stdout)
    assert document["limits"] == {"lots": 2.0, "hours": {"mon": "08:00-12:00"}}


def test_a_setting_that_is_not_valid_is_shown_with_its_place(folder: Path) -> None:
    (folder / ".env").write_text("GTW_PORT=abc\n", "utf-8")
    done = run("show")
    assert done.exit_code == 64
    assert [line.split() for line in done.stdout.splitlines() if "GTW_PORT" in line] == [
        ["GTW_PORT", "abc", ".env"]
    ]
    assert done.stderr.startswith("GTW_PORT='abc' is not valid: give a whole number from 1 to")


def test_the_first_file_changes_nothing_and_has_every_setting(folder: Path) -> None:
    done = run("init")
    assert (done.exit_code, "trueup.toml" in done.stdout) == (0, True)
    assert load_settings() == Settings.model_construct()
    assert {row["source"] for row in rows().values()} == {"default"}
    text = (folder / "trueup.toml").read_text("utf-8")
    assert max(map(len, text.splitlines())) <= 100
    # With the # of each assignment removed, all values are valid, and the defaults.
    lines = [
        line.removeprefix("# ")
        for line in text.splitlines()
        if line.startswith("# [limits]") or (line.startswith("# ") and " = " in line[:40])
    ]
    (folder / "trueup.toml").write_text("\n".join(lines), "utf-8")
    assert {row["source"] for row in rows().values()} == {"trueup.toml"}
    assert load_settings(trueup_magic=None).gtw_port == 5555
    assert limits_setting().lots == 1.0


@posix_only
def test_the_first_file_is_private_and_never_replaces_another_one(folder: Path) -> None:
    run("init")
    path = folder / "trueup.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("gtw_port = 7000\n", "utf-8")
    done = run("init")
    assert (done.exit_code, done.stderr) == (
        2,
        "trueup.toml is there already, and was left as it is: --force replaces it.\n",
    )
    assert path.read_text("utf-8") == "gtw_port = 7000\n"
    assert run("init", "--force").exit_code == 0
    assert path.read_text("utf-8").startswith("# The settings of trueup")


@pytest.mark.parametrize(
    "arguments",
    [
        ["audit", "--journal", URL],
        ["audit", "--journal", URL, "--nonsense"],
        ["audit", URL],
        ["audit", "--journal", "mysql://bot:s3cret@db.example/trueup"],
        ["audit", "--journal", "postgresql://bot:s3cret%ws@db.example/trueup"],
        ["audit", "--journal", "postgresql://bot:s3cret/more@db.example/trueup"],
        ["paper", "--no-journal", "--journal", URL],
        ["run", "install", "--folder", ".", "--", "my:Bot", "--journal", URL],
    ],
)
def test_no_command_prints_the_password_of_its_journal(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code
    assert "s3cret" not in done.output
    assert "Traceback" not in done.output


def test_a_password_on_the_command_line_is_warned_of_with_the_setting_to_use() -> None:
    warned = CliRunner().invoke(app, ["audit", "--journal", URL]).stderr
    assert warned.startswith(
        "WARNING: every user of this machine can read the password in --journal, in the list of "
        "processes: put the URL into TRUEUP_JOURNAL (the environment, .env or trueup.toml), or "
        "the password alone into PGPASSWORD or ~/.pgpass.\n"
    )
    without = CliRunner().invoke(app, ["audit", "--journal", "postgresql://bot@db.example/trueup"])
    assert "WARNING" not in without.output


def test_a_service_file_gets_no_password(folder: Path) -> None:
    done = CliRunner().invoke(app, ["run", "install", "--", "my:Bot", "--journal", URL])
    assert done.exit_code == 64
    assert "a service file is no place for a password: put the URL into TRUEUP_JOURNAL" in (
        done.stderr
    )
    assert [path.name for path in folder.iterdir() if "service" in path.name] == []


def test_a_setting_that_cannot_be_used_is_named_without_its_password(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUEUP_JOURNAI", URL)
    done = run("show")
    assert "did you mean TRUEUP_JOURNAL" in done.stderr
    assert "postgresql://bot:***@" in done.stderr
    monkeypatch.delenv("TRUEUP_JOURNAI")
    (folder / "trueup.toml").write_text(f"trueup_journal = {URL}\n", "utf-8")
    done = run("show")
    assert (done.exit_code, "s3cret" in done.output) == (64, False)
