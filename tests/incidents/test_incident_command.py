"""`trueup sim incident`: its list, what it refuses, and the end of everything that it starts."""

from __future__ import annotations

import itertools
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest
from typer.testing import CliRunner

from tests.paper.deadline import wait_for
from tests.support.processes import is_running
from trueup.cli import app
from trueup.lab.incidents import stage
from trueup.lab.incidents.stage import PORTS, Stage
from trueup.lab.incidents.table import INCIDENTS
from trueup.lab.processes.children import environment

pytestmark = pytest.mark.timeout(300)

WRONG_USAGE = 64
# Starts a terminal as an incident does, says its number, and waits for its own end.
STARTER = """
import os, signal, sys, time
from pathlib import Path
from trueup.lab.processes.children import Child, environment
child = Child(Path(), "terminal.log", ["terminal"], environment(with_settings=False))
child.wait_for("gateway at tcp://")
if sys.platform != "win32":
    os.kill(child.pid, signal.SIGSTOP)
    # The signal takes effect later; only a process that stands still is woken by the system.
    os.waitpid(child.pid, os.WUNTRACED)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_stage_takes_two_free_ports_below_those_of_outgoing_connections(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Stage(folder / "first").port
    assert first + 1 < 32_768
    assert Stage(folder / "second").port != first
    monkeypatch.setattr(stage, "_numbers", itertools.count(PORTS.index(first)))
    # A gateway that cannot have its port for hints does not start.
    with socket.create_server(("127.0.0.1", first + 1)):
        assert Stage(folder / "third").port != first


def test_the_list_has_every_incident() -> None:
    done = CliRunner().invoke(app, ["sim", "incident", "--list"])
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        incident.name for incident in INCIDENTS
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Give an incident: gateway-killed, port-taken,"),
        (["fire"], "There is no incident fire: give one of gateway-killed, port-taken,"),
        (["database-down"], "database-down needs --database, as --database postgresql://"),
        (["no-link", "--database", "postgresql:///x"], "--database is for database-down;"),
        (["no-link", "--folder", "."], "--folder='.' is not valid: give a folder that does not"),
    ],
)
def test_what_cannot_be_played_is_a_sentence(arguments: list[str], said: str, folder: Path) -> None:
    done = CliRunner().invoke(app, ["sim", "incident", *arguments])
    assert done.exit_code == WRONG_USAGE
    assert done.stderr.startswith(said)
    assert not list(folder.iterdir())


def test_an_incident_is_shown_and_ended(folder: Path) -> None:
    """By Ctrl-C where a test can press it."""
    (folder / "incident-gateway-killed").mkdir()
    ends = ["--for", "1"] if sys.platform == "win32" else []
    with (
        (folder / "said").open("wb") as out,
        _running("sim", "incident", "gateway-killed", *ends, out=out) as child,
    ):
        wait_for(lambda: "Ctrl-C ends" in _said(folder), lambda: _said(folder))
        if not ends:
            wait_for(lambda: "bot | " in _said(folder), lambda: _said(folder))
            child.send_signal(signal.SIGINT)
        assert child.wait(60) == 0, _said(folder)
    said = _said(folder)
    assert "cd incident-gateway-killed-2\n" in said
    assert "  to do    Start the gateway again, if its task or unit" in said
    assert "Gateway offline" in said
    assert said.endswith(
        "Book and broker agree again.\n\n"
        "All parts have ended; incident-gateway-killed-2 keeps their logs.\n"
    )
    assert not (folder / "incident-gateway-killed-2" / ".trueup" / "terminal.json").exists()


def test_a_part_ends_with_its_rehearsal_also_when_both_can_do_nothing(folder: Path) -> None:
    """The part is stopped, and the rehearsal is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTER],
        env=environment(with_settings=False),
        stdout=subprocess.PIPE,
    ) as starter:
        assert starter.stdout is not None
        part = int(starter.stdout.readline())
        assert is_running(part)
        starter.kill()
    wait_for(lambda: not is_running(part), lambda: f"the end of {part}")


def _said(folder: Path) -> str:
    return (folder / "said").read_text("utf-8")


@contextmanager
def _running(*arguments: str, out: BinaryIO) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        [sys.executable, "-m", "trueup", *arguments],
        env=environment(with_settings=False),
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
