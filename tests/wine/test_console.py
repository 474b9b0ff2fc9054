"""Ctrl-C in a real console: Windows sends it to each process that the console has."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.processes import KILL
from tests.support.servers import until
from tests.wine.windows_python import LONG_SEC, PYTHON, processes_of

pytestmark = pytest.mark.timeout(900)
NUMBERS = itertools.count()
# A gateway's own patience with what is under way, and to spare.
ENDS_SEC = 60.0


class Console:
    """A terminal window of Linux with a Windows process in it.

    Args:
        folder: where the process runs.
        arguments: what `trueup` is given.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self._socket = f"trueup-{os.getpid()}-{next(NUMBERS)}"
        self._code = folder / "code"
        words = " ".join(f"'{word}'" for word in ("-m", "trueup", *arguments))
        # The shell outlives a Ctrl-C that comes before Windows has the keyboard.
        line = f"trap : INT; {PYTHON} {words}; echo $? >code.part; mv code.part code; read"
        self._tmux("new-session", "-d", "-x", "160", "-y", "50", "-c", str(folder), line)

    def _tmux(self, *arguments: str) -> str:
        home = {"TRUEUP_HOME": str(self.folder)}
        done = subprocess.run(
            ["tmux", "-L", self._socket, "-f", "/dev/null", *arguments],
            env={**os.environ, **home},
            capture_output=True,
            check=True,
        )
        return done.stdout.decode()

    def press(self, key: str) -> None:
        """Press a key."""
        self._tmux("send-keys", key)

    def screen(self) -> str:
        """What there is to see."""
        return self._tmux("capture-pane", "-p", "-S", "-200")

    @property
    def has_ended(self) -> bool:
        """Whether the process has."""
        return self._code.exists()

    def code(self) -> int:
        """Wait for the end of the process, and return its exit code."""
        until(self._code.exists, ENDS_SEC + LONG_SEC, pause_sec=0.05)
        return int(self._code.read_text("utf-8"))

    def close(self) -> None:
        """Close the window, and end all that was started in it."""
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], check=False)
        for pid in processes_of(self.folder):
            with suppress(ProcessLookupError):
                os.kill(pid, KILL)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[list[Console]]:
    """Consoles, closed at the end."""
    made: list[Console] = []
    yield made
    for console in made:
        console.close()


def gateway(folder: Path, opened: list[Console], *options: str) -> Console:
    """A gateway in a console."""
    arguments = ("gateway", "--simulated", "--port", "0", "--log", "gateway.log", *options)
    opened.append(Console(folder, *arguments))
    return opened[-1]


def said(folder: Path, pattern: str) -> bool:
    """Whether the gateway's log has it."""
    log = folder / "gateway.log"
    return log.exists() and re.search(pattern, log.read_text("utf-8")) is not None


# After the last of these words, and so much later.
MOMENTS = {
    "when it serves": (r"Serving", 0.0),
    "while its worker starts": (r"Serving", 0.3),
    "when it has the terminal": (r"Initialised", 0.0),
    "later": (r"Initialised", 1.0),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_ends_a_gateway_and_its_worker_at_once_and_in_good_order(
    moment: str, tmp_path: Path, opened: list[Console]
) -> None:
    pattern, later_sec = MOMENTS[moment]
    console = gateway(tmp_path, opened)
    until(lambda: said(tmp_path, pattern) or console.has_ended, LONG_SEC, pause_sec=0.01)
    assert not console.has_ended, console.screen()
    time.sleep(later_sec)
    console.press("C-c")
    begin = time.monotonic()
    assert console.code() == 0, console.screen()
    assert time.monotonic() - begin < ENDS_SEC
    assert said(tmp_path, r"\[GATEWAY\] Ended")
    assert "Traceback" not in console.screen()
    # The simulated terminal, which it started, goes on alone.
    until(lambda: all(" terminal " in one for one in processes_of(tmp_path).values()), ENDS_SEC)


@pytest.mark.parametrize("early_sec", [0.0, 0.5, 1.5])
def test_ctrl_c_before_it_serves_ends_it_without_a_traceback(
    early_sec: float, tmp_path: Path, opened: list[Console]
) -> None:
    console = gateway(tmp_path, opened)
    until(lambda: processes_of(tmp_path), LONG_SEC)
    time.sleep(early_sec)
    console.press("C-c")
    console.code()
    assert "Traceback" not in console.screen()
