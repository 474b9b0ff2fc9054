"""The state file with the addresses of the running terminal; see `runtime.control.state_files`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from trueup.runtime.control.state_files import StateFile, answers, ask_process, state_folder

__all__ = [
    "LOCK_FILE",
    "Whereabouts",
    "ask",
    "find_terminal",
    "read_state",
    "remove_state",
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


def ask(
    whereabouts: Whereabouts, command: Mapping[str, Any], timeout_ms: int = COMMAND_TIMEOUT_MS
) -> dict[str, Any]:
    """Send a manual command to the terminal and return the answer.

    Raises:
        NotSent: no terminal listens; the command had no effect.
        OutcomeUnknown: the command was sent and no usable answer arrived.
    """
    return ask_process(whereabouts.person, command, timeout_ms, "The terminal")
