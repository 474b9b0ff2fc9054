"""Start a simulated terminal as a process that outlives its starter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

import trueup
from trueup.errors import TrueupError
from trueup.filelock import is_locked
from trueup.private import make_private_folder
from trueup.runtime.time.clock import SystemClock
from trueup.sim.process.process import TerminalOptions
from trueup.sim.process.whereabouts import LOCK_FILE, Whereabouts, find_terminal, state_folder

LOG_FILE = "terminal.log"
# Long, for a busy machine; the wait ends as soon as the terminal answers.
_START_SEC = 90.0
_LOOK_AGAIN_SEC = 0.05


def start_terminal(options: TerminalOptions) -> Whereabouts:
    """Start a terminal process that outlives this one, and wait until it answers.

    Raises:
        TrueupError: the terminal ended or does not answer; the message has its last log line.
    """
    folder = state_folder()
    make_private_folder(folder)
    log_path = folder / LOG_FILE
    # The child writes to a file, not to our console: the child outlives this command.
    with log_path.open("ab") as log:
        child = _start_process(_command_line(options), log)
    clock = SystemClock()
    deadline_ns = clock.waiting_ns() + round(_START_SEC * 1e9)
    # The state file alone proves nothing, so `find_terminal` asks the terminal too.
    while clock.waiting_ns() < deadline_ns:
        running = find_terminal()
        if running is not None:
            return running
        # Another program may start a terminal here at the same moment: then ours was refused.
        if child.poll() is not None and not is_locked(folder / LOCK_FILE):
            break
        clock.sleep(_LOOK_AGAIN_SEC)
    said = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    because = said[-1] if said else "it said nothing"
    raise TrueupError(f"The simulated terminal did not start ({log_path}): {because}")


def _start_process(words: list[str], log: BinaryIO) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=_environment(),
        **_detached(),
    )


def _command_line(options: TerminalOptions) -> list[str]:
    # -P keeps files of the current folder, such as a user's signal.py, from being imported.
    return [
        *(sys.executable, "-P", "-m", "trueup", "terminal"),
        *("--account", options.account, "--symbol", options.symbol),
        *("--feed", options.feed, "--seed", str(options.seed), "--speed", str(options.speed)),
    ]


def _environment() -> dict[str, str]:
    """Return this process's environment, with the package's path if it is not installed."""
    environment = {**os.environ, "PYTHONUTF8": "1"}
    home = Path(trueup.__file__).resolve().parents[1]
    if not home.name.endswith("-packages"):
        paths = [str(home), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def _detached() -> dict[str, Any]:
    """Return the options of Popen that keep Ctrl-C and our own end from the child."""
    if sys.platform == "win32":
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
        return {"creationflags": flags}
    return {"start_new_session": True}
