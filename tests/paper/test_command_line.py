"""The command line in this process: help, version, and what cannot work."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from trueup import __version__
from trueup.cli import app
from trueup.observe.log import set_up_logging


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("TRUEUP_HOME", "GTW_HOST", "GTW_PORT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(*arguments: str) -> Result:
    try:
        return CliRunner().invoke(app, list(arguments))
    finally:
        set_up_logging(console=False)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("trade", "list"), 2, "No terminal runs in this folder: start one with"),
        (("trade", "close", "12a"), 64, "TICKET='12a' is not valid: give a position's ticket"),
        (("terminal", "--stop"), 2, "No terminal runs in this folder"),
        (("terminal", "--feed", "absent.csv"), 2, "absent.csv, line 1: no such file"),
        (("terminal", "--symbol", "ABC"), 64, "--symbol='ABC' is not valid: give one of EURUSD"),
        (("paper", "--feed", "absent.csv"), 2, "absent.csv, line 1: no such file"),
        (("paper", "--gateway", "here"), 64, "--gateway='here' is not valid: give tcp://HOST:PORT"),
        (("paper", "--gateway", "tcp://h:0"), 64, "is not valid: give tcp://HOST:PORT"),
        (("paper", "--strategy", "nowhere:Idle"), 64, "--strategy='nowhere:Idle' is not valid"),
        (("paper", "--log", "."), 2, "--log='.' is not valid"),
    ],
)
def test_what_cannot_work_is_one_sentence(
    folder: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = run(*arguments)
    assert done.exit_code == code
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (folder / ".trueup").exists()


@pytest.mark.parametrize(
    "arguments",
    [(), ("paper",), ("terminal",), ("status",), ("trade",)]
    + [("trade", name) for name in ("list", "open", "close", "partial", "modify")],
)
def test_every_command_has_help(arguments: tuple[str, ...]) -> None:
    done = run(*arguments, "--help")
    assert done.exit_code == 0
    assert "Usage: " in done.stdout


def test_the_version_is_the_package_s() -> None:
    assert run("--version").stdout == f"trueup {__version__}\n"
