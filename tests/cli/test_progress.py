"""What takes long says how far it is: to a person at a terminal, and to nobody else."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from typer.testing import CliRunner

from tests.cli.json_examples import Place, traded
from tests.paper.deadline import wait_for
from tests.support.order_world import OrderWorld
from tests.support.pseudo_terminal import ON_POSIX, terminal
from tests.support.servers import ZmqServer
from trueup.cli import app
from trueup.cli.shared import progress as module
from trueup.cli.shared.progress import Progress, progress

# The line comes at once, since these commands are quick on so little.
AT_ONCE = (
    "import trueup.cli.shared.progress as progress\n"
    "progress.AFTER_SEC = 0\n"
    "from trueup.__main__ import main\n"
    "main()\n"
)
COMMANDS = {
    "Verifying": ("journal", "verify", "--journal", "bot.db"),
    "Reading the journal": ("replay", "--at", "2026-01-05", "--journal", "bot.db"),
    "Running seeds": ("sim", "--seeds", "0..1"),
}
AT_THE_GATEWAY = {
    "Asking the broker for its deals": ("reconcile", "--journal", "bot.db", "--gateway"),
    "Checking tcp://": ("conformance",),
    "Checking": ("doctor", "--json", "--journal", "bot.db", "--gateway"),
}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OrderWorld:
    monkeypatch.chdir(tmp_path)
    for name in ("GTW_HOST", "GTW_PORT", "TRUEUP_HOME"):
        monkeypatch.delenv(name, raising=False)
    return traded(Place(tmp_path, monkeypatch))


def words(*arguments: str) -> list[str]:
    return [sys.executable, "-c", AT_ONCE, *arguments]


def shows(said: str, arguments: tuple[str, ...], folder: Path) -> str:
    """Run a command at a terminal, where it shows a line; return what is left at the end."""
    with terminal(words(*arguments), folder, os.environ) as screen:
        screen.read_to_the_end()
        assert said in screen.shown
        # The line is wiped away, and the cursor is shown again.
        assert screen.raw.rindex("\x1b[2K") > screen.raw.rindex(said)
        assert screen.raw.count("\x1b[?25h") == screen.raw.count("\x1b[?25l") > 0
        return screen.raw.rpartition("\x1b[2K")[2].replace("\r\n", "\n")


def piped(arguments: tuple[str, ...], folder: Path) -> str:
    done = subprocess.run(
        words(*arguments), cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stderr == ""
    return done.stdout


def unseen(arguments: tuple[str, ...]) -> str:
    """Run a command in this process, where its lines go to no terminal."""
    with mock.patch.object(module, "AFTER_SEC", 0):
        done = CliRunner().invoke(app, arguments)
    assert done.stderr == ""
    return done.stdout


@ON_POSIX
@pytest.mark.parametrize("said", COMMANDS)
def test_a_terminal_sees_a_line_that_goes_and_what_is_none_sees_none(
    said: str, world: OrderWorld, tmp_path: Path
) -> None:
    assert shows(said, COMMANDS[said], tmp_path) == unseen(COMMANDS[said])


@ON_POSIX
@pytest.mark.parametrize("said", AT_THE_GATEWAY)
def test_what_asks_a_gateway_says_so(said: str, world: OrderWorld, tmp_path: Path) -> None:
    with ZmqServer(world.desk.handle) as server:
        arguments = (*AT_THE_GATEWAY[said], f"tcp://127.0.0.1:{server.port}")
        assert shows(said, arguments, tmp_path) != ""
        unseen(arguments)


@ON_POSIX
def test_a_trail_that_goes_into_a_file_shows_a_line_beside_it(
    world: OrderWorld, tmp_path: Path
) -> None:
    """On a terminal the trail itself shows that it goes on, so the line ends at its first."""
    whole = ("audit", "--journal", "bot.db")
    command = " ".join(f"'{word}'" for word in words(*whole, "--json"))
    with terminal(["sh", "-c", f"{command} > trail.json"], tmp_path, os.environ) as screen:
        assert screen.read_to_the_end() == 0
        assert "Reading the journal" in screen.shown
        assert "timestamp" not in screen.shown
    assert (tmp_path / "trail.json").read_text("utf-8") == piped((*whole, "--json"), tmp_path)
    with terminal(words(*whole), tmp_path, os.environ) as screen:
        assert screen.read_to_the_end() == 0
        line, _, trail = screen.raw.partition("\x1b[2K")
        assert "INTENT" in trail
        assert "INTENT" not in line


class Screen(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def watched(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Let stderr be a terminal; not a fixture, since pytest sets stderr anew before a test."""
    made = Screen()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setenv("TERM", "xterm")
    return made


def test_what_is_quick_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watched(monkeypatch)
    with progress("Counting", 3) as shown:
        assert list(shown.watch("abc")) == ["a", "b", "c"]
    assert screen.getvalue() == ""


def test_after_the_time_a_line_shows_how_much_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watched(monkeypatch)
    monkeypatch.setattr(module, "AFTER_SEC", 0.01)
    with progress("Counting", 2_500) as shown:
        wait_for(lambda: "Counting" in screen.getvalue(), lambda: "the line")
        assert sum(1 for _ in shown.watch(range(2_500))) == 2_500
        wait_for(lambda: "2500/2500" in screen.getvalue(), lambda: "its end")
        with shown.aside():
            before = screen.getvalue()
            assert before.endswith("\x1b[2K")
    assert "\x1b[?25h" in screen.getvalue()


def test_an_end_before_the_time_cancels_it(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watched(monkeypatch)
    monkeypatch.setattr(module, "AFTER_SEC", 3_600)
    shown = Progress("Counting")
    shown.begin()
    shown.end()
    shown.end()
    wait_for(lambda: not shown._timer.is_alive(), lambda: "the timer's end")
    assert screen.getvalue() == ""


def test_a_terminal_that_cannot_wipe_gets_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watched(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(module, "AFTER_SEC", 0)
    with progress("Counting"):
        pass
    assert screen.getvalue() == ""
