"""Where the running terminal of this folder is; `runtime.control.state_files` finds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from trueup.runtime.control.state_files import StateFile, answers, ask_process, state_folder

__all__ = [
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
    """A terminal process: its endpoints for bots and for a person, and what it simulates.

    `module` is where a gateway's worker calls it; see `sim.process.module_port`.
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


_FILE = StateFile("terminal.json", Whereabouts)
write_state: Callable[[Whereabouts], None] = _FILE.write
read_state: Callable[[], Whereabouts | None] = _FILE.read
remove_state: Callable[[int], None] = _FILE.remove


def find_terminal() -> Whereabouts | None:
    """Return the terminal of this folder if it answers by itself, else None."""
    state = read_state()
    if state is None or not answers(state.person, state.pid, ASK_TIMEOUT_MS):
        return None
    return state


def ask(
    whereabouts: Whereabouts, command: Mapping[str, Any], timeout_ms: int = COMMAND_TIMEOUT_MS
) -> dict[str, Any]:
    """Give the terminal a person's command and return its answer.

    Raises:
        NotSent: nobody listens; the command did nothing.
        OutcomeUnknown: it was sent and no usable answer came.
    """
    return ask_process(whereabouts.person, command, timeout_ms, "The terminal")
