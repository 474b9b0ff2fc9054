"""Wrong usage is exit code 64 in every command, and nothing is done."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scripts.cli_page import HEAD
from trueup.cli import app, commands, group
from trueup.errors import SettingsError, TrueupError

ROOT = Path(__file__).resolve().parents[2]


def every_command() -> Iterator[tuple[str, ...]]:
    """Yield the names of every command and of every group, as they are typed."""

    def walk(command: Any, names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield names
        for name, below in getattr(command, "commands", {}).items():
            yield from walk(below, (*names, name))

    yield ()
    for entry in commands.COMMANDS:
        yield from walk(entry.load(), (entry.name,))


EVERY_COMMAND = list(every_command())


def test_the_walk_finds_the_commands_that_are_known() -> None:
    known = {(), ("paper",), ("journal", "verify"), ("trade", "open"), ("gateway", "install")}
    assert known <= set(EVERY_COMMAND)


@pytest.mark.parametrize("names", EVERY_COMMAND, ids=" ".join)
def test_a_wrong_option_is_64_in_every_command(
    names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*names, "--no-such-option"])
    assert (done.exit_code, done.stdout) == (64, "")
    assert done.stderr.splitlines()[-1] == "Error: No such option: --no-such-option"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [(), ("keys",), ("nothing",), ("keys", "nothing")])
def test_no_command_and_an_unknown_one_are_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, [*arguments]).exit_code == 64


@pytest.mark.parametrize("name", ["GTW_PORT", "SYNC_INTERVAL_SEC"])
def test_a_wrong_setting_is_64(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, "abc")
    done = CliRunner().invoke(app, ["paper", "--gateway", "tcp://127.0.0.1:1", "--no-journal"])
    assert (done.exit_code, done.stdout) == (64, "")
    assert done.stderr.startswith(f"{name}='abc' is not valid")


def test_a_right_value_that_the_system_refuses_is_no_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that is in use now may be free later: a supervisor may start the command again."""
    monkeypatch.chdir(tmp_path)

    def refused(error: Exception) -> int:
        def raises(*_: object) -> None:
            try:
                raise OSError("the port is in use")
            except OSError as cause:
                raise error from cause

        monkeypatch.setattr("trueup.cli.operate.bot.find_bots", raises)
        return CliRunner().invoke(app, ["plan"]).exit_code

    assert refused(SettingsError("--port", "5555", "give one that is free")) == 2
    assert refused(TrueupError("The port is in use.")) == 2


def test_the_page_has_every_exit_code() -> None:
    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", HEAD, flags=re.MULTILINE)}
    assert listed >= {0, 1, group.WRONG, group.WRONG_USAGE, group.STOPPED, group.CLOSED}
    assert HEAD in page
