"""The state file with the addresses of the running terminal; see `runtime.control.state_files`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from trueup.errors import TrueupError
from trueup.filelock import LockHeld, ProcessLock
from trueup.runtime.control.state_files import StateFile, answers, ask_process, state_folder

__all__ = [
    "LOCK_FILE",
    "Whereabouts",
    "ask",
    "find_terminal",
    "lock_folder",
    "read_state",
    "remove_state",
    "runs_already",
    "state_folder",
    "write_state",
]

ASK_TIMEOUT_MS = 1_000
COMMAND_TIMEOUT_MS = 10_000


class Whereabouts(msgspec.Struct, frozen=True):
    """A terminal process: the endpoints for bots and for manual commands, account and symbol.

    `module` is the address for the calls of a gateway's worker; see `sim.process.module_port`.
    """

    pid: int
    gateway: str
    person: str
    account: str
    symbol: str
    started: str
    module: str = ""

    @property
    def port(self) -> int:
        """The TCP port for bots."""
        return int(self.gateway.rpartition(":")[2])


LOCK_FILE = "terminal.lock"
"""The file that a terminal of the state folder has locked, from before its start until its end."""
_FILE = StateFile("terminal.json", Whereabouts)
write_state: Callable[[Whereabouts], None] = _FILE.write
read_state: Callable[[], Whereabouts | None] = _FILE.read
remove_state: Callable[[int], None] = _FILE.remove


def find_terminal() -> Whereabouts | None:
    """Return the terminal of this folder, or None if the terminal does not answer."""
    state = read_state()
    if state is None or not answers(state.person, state.pid, ASK_TIMEOUT_MS):
        return None
    return state


def lock_folder() -> ProcessLock:
    """Take the lock that only one terminal of this folder can have, until it is released.

    A second terminal would replace the first in the state file, and its bots would lose it.

    Raises:
        TrueupError: another terminal has the folder.
        OSError: the state folder cannot be written.
    """
    try:
        return ProcessLock(state_folder() / LOCK_FILE)
    except LockHeld as held:
        running = find_terminal()
        if running is not None:
            raise runs_already(running) from None
        raise TrueupError(
            f"The terminal of this folder, {held.holder}, does not answer: it starts just now, or "
            "it hangs, and then end that process."
        ) from None


def runs_already(running: Whereabouts) -> TrueupError:
    """Return the error for a terminal that runs in this folder already."""
    return TrueupError(
        f"A terminal runs in this folder already, process {running.pid} at {running.gateway}: "
        "stop it with `trueup terminal --stop`."
    )


def ask(
    whereabouts: Whereabouts, command: Mapping[str, Any], timeout_ms: int = COMMAND_TIMEOUT_MS
) -> dict[str, Any]:
    """Send a manual command to the terminal and return the answer.

    Raises:
        NotSent: no terminal listens; the command had no effect.
        OutcomeUnknown: the command was sent and no usable answer arrived.
    """
    return ask_process(whereabouts.person, command, timeout_ms, "The terminal")
